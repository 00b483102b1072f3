//! Maps of changed ranges: only what they say is read; a wrong request is refused, a map that lies is found out.

use std::fs;

use tests::odd;
use tests::seawall::Machine;

use super::disk::{BLOCK, assert_comes_back, assert_new, empty, image, number, point, text, write};

/// A machine with one point of an image, and the image.
fn machine(blocks: u64) -> (Machine, String) {
    let machine = Machine::with_repository();
    image(&machine.at("disk"), blocks);
    let first = machine.json(&["backup", "--image", "disk"]);
    (machine, point(&first))
}

fn map(machine: &Machine, lines: &str) {
    fs::write(machine.at("map"), lines).unwrap();
}

const MAPPED: [&str; 4] = ["backup", "disk", "--map", "map"];

#[test]
fn only_what_a_map_says_is_read_and_the_point_is_whole() {
    let (machine, first) = machine(300);
    fs::copy(machine.at("disk"), machine.at("before")).unwrap();
    let disk = machine.at("disk");
    write(&disk, 5 * BLOCK + 17, &odd::noise(90, 100));
    write(&disk, 150 * BLOCK, &odd::noise(91, 2 * 65536));
    write(&disk, 250 * BLOCK, &[0; 65536]);
    write(&disk, 300 * BLOCK + 999, b"x");
    let lines = [(5 * BLOCK + 17, 100), (150 * BLOCK, 2 * BLOCK), (250 * BLOCK, BLOCK), (300 * BLOCK, 1000)];
    let lines: String = lines.iter().map(|(at, length)| format!("{at} {length:#x}\n")).collect();
    map(&machine, &lines);
    let told = machine.json(&MAPPED);
    let compared = number(&told["map"], "blocks_compared");
    assert!((2..=4).contains(&compared), "{told}");
    assert!(number(&told, "bytes_read") <= (4 + compared) * BLOCK + 1000, "{told}");
    assert_eq!((told["map"]["wrong_at"].as_u64(), told["basis"].as_str()), (None, Some(&*first)), "{told}");
    assert_new(&told, 3 * BLOCK + 1000);
    assert_comes_back(&machine, &point(&told), "disk", &disk);
    assert_comes_back(&machine, &first, "disk", &machine.at("before"));
    map(&machine, "# nothing changed\n");
    assert_new(&machine.json(&MAPPED), 0);
    machine.done(&["verify", "--level", "L1"]);
    machine.done(&["verify", "--level", "L2"]);
}

#[test]
fn a_map_may_be_relative_to_an_older_point() {
    let (machine, first) = machine(100);
    write(&machine.at("disk"), 3 * BLOCK, b"since the first point");
    machine.done(&["backup", "--image", "disk"]);
    write(&machine.at("disk"), 70 * BLOCK, b"since the second point");
    map(&machine, &format!("{} 1\n{} 1", 3 * BLOCK, 70 * BLOCK));
    let told = machine.json(&[&MAPPED[..], &["--map-since", &first[..10]]].concat());
    assert_eq!(told["basis"].as_str(), Some(&*first));
    assert_comes_back(&machine, &point(&told), "disk", &machine.at("disk"));
}

#[test]
fn an_image_that_grew_or_shrank_is_kept_whole() {
    let (machine, _) = machine(64);
    map(&machine, "0 1");
    for blocks in [80, 40] {
        let disk = machine.at("disk");
        fs::OpenOptions::new().write(true).open(&disk).unwrap().set_len(blocks * BLOCK + 5).unwrap();
        write(&disk, blocks * BLOCK - 30, &odd::noise(blocks, 35));
        map(&machine, &format!("0 1\n{} 35", blocks * BLOCK - 30));
        let told = machine.json(&MAPPED);
        assert_eq!(told["map"]["wrong_at"].as_u64(), None, "{told}");
        assert_comes_back(&machine, &point(&told), "disk", &disk);
    }
}

/// Every block has its turn in the sample, so each of these lies is found in one of the runs.
#[test]
fn a_map_that_lies_is_found_out_and_the_point_is_right() {
    let (machine, first) = machine(90);
    let disk = machine.at("disk");
    fs::copy(&disk, machine.at("before")).unwrap();
    write(&disk, 0, &odd::noise(92, 60 * 65536));
    map(&machine, &format!("{} 1", 80 * BLOCK));
    let mut found = None;
    for _ in 0..=90 {
        let said = machine.run(&[&MAPPED[..], &["--map-since", &first, "--json"]].concat());
        assert_eq!(said.code, 0, "{said}");
        if said.json()["map"]["wrong_at"].is_number() {
            found = Some(said);
            break;
        }
    }
    let said = found.expect("sixty blocks of ninety are wrong");
    assert!(said.err.contains("the map is wrong") && said.err.contains("this point is right"), "{said}");
    assert!(number(&said.json(), "bytes_read") >= 60 * BLOCK, "{said}");
    assert_comes_back(&machine, &point(&said.json()), "disk", &disk);
    let listed = machine.json(&["points"]);
    let noted = listed["points"].as_array().unwrap().iter().find(|p| p["id"] == said.json()["point"]);
    assert_eq!(noted.unwrap()["problems"], 1, "the point itself says that the map was wrong: {listed}");
}

#[test]
fn a_map_that_cannot_be_used_is_refused() {
    let (machine, first) = machine(10);
    map(&machine, "0 1\nzero one\n");
    let said = machine.run(&MAPPED);
    said.assert_failed(4, "line 2 of the map");
    assert!(said.err.contains("OFFSET LENGTH"), "{said}");
    map(&machine, &format!("0 {}", 11 * BLOCK));
    machine.run(&MAPPED).assert_failed(4, "line 1 of the map: it ends at");
    map(&machine, "0 1");
    let refused =
        |more: &[&str], says: &str| machine.run(&[&MAPPED[..], more].concat()).assert_failed(4, says);
    refused(&["--kind", "full"], "incremental");
    refused(&["--kind", "differential"], "incremental");
    refused(&["--map-since", "0123456789"], "no point 0123456789");
    refused(&["--source", "another"], "there is no point yet");
    refused(&["--source", "another", "--map-since", &first], "no point");
    refused(&["repository"], "one PATH");
    refused(&["--dry-run"], "cannot be used with");
    machine.run(&["backup", "disk", "--map", "gone"]).assert_failed(4, "read the map gone");
    machine
        .run(&["backup", "--image", "disk", "home"])
        .assert_failed(4, "neither a regular file nor a block");
    machine.run(&["backup", "--image", "home"]).assert_failed(4, "leave --image away");
    assert_eq!(machine.points(), [first], "nothing was made");
}

#[test]
fn a_basis_that_was_cut_by_content_takes_no_map_until_the_image_was_read_once() {
    let machine = Machine::with_repository();
    fs::write(machine.at("disk"), odd::noise(4, 3 << 20)).unwrap();
    machine.done(&["backup", "disk"]);
    map(&machine, "0 1");
    let said = machine.run(&MAPPED);
    said.assert_failed(4, "does not hold one image that was cut in blocks");
    assert!(said.err.contains("without --map"), "{said}");
    // Nothing has changed since, but the blocks are not there yet.
    machine.done(&["backup", "--image", "disk"]);
    let told = machine.json(&MAPPED);
    assert_comes_back(&machine, &point(&told), "disk", &machine.at("disk"));
    fs::create_dir(machine.at("tree")).unwrap();
    for name in ["a", "b"] {
        fs::write(machine.at("tree").join(name), odd::noise(4, 1 << 20)).unwrap();
    }
    machine.done(&["backup", "tree", "--source", "tree"]);
    let words = ["backup", "disk", "--map", "map", "--source", "tree"];
    machine.run(&words).assert_failed(4, "does not hold one image");
}

#[test]
fn unchanged_blocks_are_not_stored_again_wherever_they_came_from() {
    let machine = Machine::with_repository();
    image(&machine.at("disk"), 200);
    fs::copy(machine.at("disk"), machine.at("copy")).unwrap();
    machine.done(&["backup", "--image", "disk"]);
    write(&machine.at("copy"), 20 * BLOCK + 5, b"one block is another");
    let told = machine.json(&["backup", "--image", "copy"]);
    assert_new(&told, BLOCK);
    assert_new(&machine.json(&["backup", "--image", "copy", "disk"]), 0);
    machine.done(&["restore", "latest", "--source", told["source"].as_str().unwrap(), "--into", "out"]);
    assert!(super::disk::same_files(&machine.at("out/copy"), &machine.at("copy")));
}

#[test]
fn an_image_with_little_in_it_costs_little_and_stays_sparse() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    let machine = Machine::with_repository();
    let disk = machine.at("disk");
    empty(&disk, 4 << 30);
    for part in 0..16_u64 {
        write(&disk, part * (256 << 20) + 12_288, &odd::noise(part, 4 << 20));
    }
    let held = fs::metadata(&disk).unwrap().blocks() * 512;
    let told = machine.json(&["backup", "--image", "disk"]);
    let read = number(&told, "bytes_read");
    assert!((64 << 20..=(64 << 20) + 32 * BLOCK).contains(&read), "{told}");
    machine.done(&["restore", "latest", "--into", "out"]);
    let back = fs::metadata(machine.at("out/disk")).unwrap();
    assert!(
        back.blocks() * 512 <= held + 32 * BLOCK,
        "{} bytes are held, and {held} were",
        back.blocks() * 512
    );
    // All that is held is data that was there, so all else reads as zeros.
    for part in 0..16_u64 {
        let mut bytes = vec![0; 4 << 20];
        fs::File::open(machine.at("out/disk"))
            .unwrap()
            .read_exact_at(&mut bytes, part * (256 << 20) + 12_288)
            .unwrap();
        assert!(bytes == odd::noise(part, 4 << 20), "part {part}");
    }
    assert_eq!(text(&disk), told["source"].as_str().unwrap().split_once(':').unwrap().1);
}
