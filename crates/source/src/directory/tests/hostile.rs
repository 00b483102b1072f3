//! Somebody else has a hand in the target while it is written: nothing may reach what lies outside.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use format::meta::{Kind, Meta};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;
use crate::Error;

/// A target beside something precious.
struct Scene {
    dir: tempfile::TempDir,
    target: Target,
}

impl Scene {
    fn new(way: Way, existing: Existing) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("into")).unwrap();
        fs::create_dir_all(dir.path().join("outside/sub")).unwrap();
        fs::write(dir.path().join("outside/precious"), "precious").unwrap();
        let target = target(&dir.path().join("into"), way, existing);
        Scene { dir, target }
    }

    fn inside(&self, name: &str) -> PathBuf {
        self.dir.path().join("into").join(name)
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.dir.path().join("outside").join(name)
    }

    /// What lies outside, with all that a write could change of it.
    fn untouched(&self) -> Vec<(TreePath, Meta)> {
        let found = entries(scan_of(&[&self.outside("")]));
        let bytes = fs::read(self.outside("precious")).unwrap();
        assert_eq!(bytes, b"precious");
        found.into_iter().map(|found| (found.path, found.meta)).collect()
    }
}

fn each(check: impl Fn(&Scene, Way)) {
    for way in ways() {
        for existing in [Existing::Refuse, Existing::Replace] {
            let scene = Scene::new(way, existing);
            let before = scene.untouched();
            check(&scene, way);
            assert_eq!(scene.untouched(), before, "{way:?} {existing:?}");
        }
    }
}

#[test]
fn a_link_planted_on_the_way_leads_nowhere() {
    let meta = |kind| Meta { mode: 0o777, ..Meta::new(kind) };
    for link in ["../outside", "/proc/self/cwd/..", "sub/../..", "."] {
        each(|scene, way| {
            scene.target.directory(&path(b"d/sub")).unwrap();
            drop(scene.target.file(&path(b"f"), 0).unwrap());
            fs::rename(scene.inside("d"), scene.inside("moved")).unwrap();
            symlink(if link == "../outside" { scene.outside("") } else { link.into() }, scene.inside("d"))
                .unwrap();
            let refused = [
                scene.target.file(&path(b"d/x"), 1).err(),
                scene.target.file(&path(b"d/sub/x"), 1).err(),
                scene.target.symlink(&path(b"d/x"), b"y").err(),
                scene.target.special(&path(b"d/x"), &meta(Kind::Fifo)).err(),
                scene.target.hard_link(&path(b"f"), &path(b"d/x")).err(),
                scene.target.hard_link(&path(b"d/precious"), &path(b"x")).err(),
                scene.target.metadata(&path(b"d"), &meta(Kind::Directory)).err(),
                scene.target.metadata(&path(b"d/sub"), &meta(Kind::Directory)).err(),
                scene.target.metadata(&path(b"d/precious"), &meta(Kind::File)).err(),
            ];
            for (row, error) in refused.iter().enumerate() {
                assert!(matches!(error, Some(Error::Obstacle { .. })), "{row} by {way:?}: {error:?}");
            }
        });
    }
}

#[test]
fn a_directory_is_made_in_place_of_a_planted_link_or_not_at_all() {
    each(|scene, _| {
        symlink(scene.outside(""), scene.inside("d")).unwrap();
        match scene.target.directory(&path(b"d/sub/new")) {
            Ok(()) => assert!(scene.inside("d").symlink_metadata().unwrap().is_dir()),
            Err(error) => assert!(matches!(error, Error::Obstacle { .. }), "{error}"),
        }
    });
}

#[test]
fn a_link_planted_at_a_name_is_never_written_through() {
    each(|scene, _| {
        symlink(scene.outside("precious"), scene.inside("soft")).unwrap();
        symlink(scene.outside("new"), scene.inside("dangling")).unwrap();
        fs::hard_link(scene.outside("precious"), scene.inside("hard")).unwrap();
        for name in [&b"soft"[..], b"dangling", b"hard"] {
            if let Ok(sink) = scene.target.file(&path(name), 4) {
                sink.write_at(0, b"evil").unwrap();
                sink.finish(&Meta { mode: 0o777, ..Meta::new(Kind::File) }).unwrap();
            }
        }
        // One name less is the only trace that unlinking the second one may leave.
        let _ = fs::remove_file(scene.inside("hard"));
        assert_eq!(fs::metadata(scene.outside("precious")).unwrap().nlink(), 1);
        let link = Meta { mode: 0o777, ..Meta::new(Kind::Fifo) };
        assert!(scene.target.metadata(&path(b"soft"), &link).is_err());
    });
}

#[test]
fn a_file_put_aside_is_taken_up_only_as_itself() {
    each(|scene, way| {
        let parked = ["link", "hard", "pipe", "gone"].map(|name| {
            let parked = scene.target.file(&path(name.as_bytes()), 1).unwrap().park();
            // Kept under another name, so that its number is not given to what takes its place.
            fs::rename(scene.inside(name), scene.inside(&format!("{name}-moved"))).unwrap();
            parked
        });
        symlink(scene.outside("precious"), scene.inside("link")).unwrap();
        fs::hard_link(scene.outside("precious"), scene.inside("hard")).unwrap();
        rustix::fs::mknodat(CWD, scene.inside("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for parked in parked {
            let error = scene.target.reopen(&parked).err();
            let refused =
                matches!(error, Some(Error::Obstacle { .. } | Error::Replaced { .. } | Error::System { .. }));
            assert!(refused, "{way:?} {parked:?}: {error:?}");
        }
        fs::remove_file(scene.inside("hard")).unwrap();
    });
}

#[test]
fn a_directory_that_turns_into_a_link_and_back_all_the_time_never_leads_out() {
    const FILES: usize = 3_000;
    for way in ways() {
        let scene = Scene::new(way, Existing::Refuse);
        let before = scene.untouched();
        scene.target.directory(&path(b"d")).unwrap();
        symlink(scene.outside(""), scene.inside("l")).unwrap();
        let stop = AtomicBool::new(false);
        let swap = || {
            renameat_with(CWD, scene.inside("d"), CWD, scene.inside("l"), RenameFlags::EXCHANGE)
                .expect("swapped");
        };
        let (written, refused) = std::thread::scope(|threads| {
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    swap();
                }
            });
            let made = (0..FILES).map(|n| scene.target.file(&path(format!("d/{n}").as_bytes()), 0).is_ok());
            let (written, refused): (Vec<bool>, Vec<bool>) = made.partition(|made| *made);
            stop.store(true, Ordering::Relaxed);
            (written.len(), refused.len())
        });
        assert_eq!(written + refused, FILES);
        assert_eq!(scene.untouched(), before, "{way:?}: {written} written, {refused} refused");
        let kept = if scene.inside("d").symlink_metadata().unwrap().is_dir() { "d" } else { "l" };
        assert_eq!(fs::read_dir(scene.inside(kept)).unwrap().count(), written, "{way:?}");
    }
}
