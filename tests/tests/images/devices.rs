//! Block devices: their content is kept where they are named, and nothing but the node where a walk meets them.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};

use tests::odd;
use tests::seawall::Machine;

use super::disk::{
    BLOCK, Loop, assert_comes_back, assert_new, image, number, point, same_files, text, write,
};

#[test]
fn a_device_that_is_named_is_kept_as_one_file() {
    let machine = Machine::with_repository();
    let disk = machine.at("disk");
    image(&disk, 100);
    fs::OpenOptions::new().write(true).open(&disk).unwrap().set_len(101 * BLOCK).unwrap();
    let Some(device) = Loop::over("a_device_that_is_named_is_kept_as_one_file", &disk) else { return };
    let told = machine.json(&["backup", device.name()]);
    assert_eq!((number(&told, "files"), number(&told, "bytes_logical")), (1, 101 * BLOCK), "{told}");
    let name = device.path().file_name().unwrap().to_str().unwrap();
    assert_comes_back(&machine, &point(&told), name, &disk);
    write(device.path(), 7 * BLOCK, &odd::noise(3, 4096));
    let again = machine.json(&["backup", device.name()]);
    assert_new(&again, BLOCK);
    assert_comes_back(&machine, &point(&again), name, &disk);
    fs::write(machine.at("map"), format!("{} 4096", 8 * BLOCK)).unwrap();
    write(device.path(), 8 * BLOCK, &odd::noise(4, 4096));
    let mapped = machine.json(&["backup", device.name(), "--map", "map"]);
    assert!(number(&mapped, "bytes_read") < 4 * BLOCK, "{mapped}");
    assert_comes_back(&machine, &point(&mapped), name, &disk);
}

#[test]
fn a_link_to_a_device_is_followed_and_a_device_in_a_tree_is_not_read() {
    let machine = Machine::with_repository();
    let disk = machine.at("disk");
    image(&disk, 20);
    fs::OpenOptions::new().write(true).open(&disk).unwrap().set_len(21 * BLOCK).unwrap();
    let test = "a_link_to_a_device_is_followed_and_a_device_in_a_tree_is_not_read";
    let Some(device) = Loop::over(test, &disk) else { return };
    fs::create_dir(machine.at("tree")).unwrap();
    symlink(device.path(), machine.at("tree/link")).unwrap();
    assert_comes_back(&machine, &point(&machine.json(&["backup", "tree/link"])), "link", &disk);
    let (major, minor) = {
        use std::os::unix::fs::MetadataExt;
        let rdev = fs::metadata(device.path()).unwrap().rdev();
        (rustix::fs::major(rdev).to_string(), rustix::fs::minor(rdev).to_string())
    };
    super::disk::done("mknod", &[text(&machine.at("tree/node")), "b", &major, &minor]);
    let told = machine.json(&["backup", "tree"]);
    assert_eq!((number(&told, "bytes_logical"), number(&told, "others")), (0, 2), "{told}");
    machine.done(&["restore", &point(&told), "--into", "out"]);
    assert!(fs::symlink_metadata(machine.at("out/node")).unwrap().file_type().is_block_device());
    // Beside a tree that holds them, the names that were given have their content, and the others do not.
    let named = machine.json(&["backup", "tree", "tree/link"]);
    assert_eq!((number(&named, "bytes_logical"), number(&named, "others")), (21 * BLOCK, 1), "{named}");
    machine.done(&["restore", &point(&named), "--into", "several"]);
    let below = machine.at("several").join(machine.at("tree").strip_prefix("/").unwrap());
    assert!(same_files(&below.join("link"), &disk));
    assert!(fs::symlink_metadata(below.join("node")).unwrap().file_type().is_block_device());
}

#[test]
fn an_image_that_is_named_by_a_link_is_kept_under_the_name_of_the_link() {
    let machine = Machine::with_repository();
    image(&machine.at("disk"), 5);
    symlink("disk", machine.at("link")).unwrap();
    for words in [&["backup", "link"][..], &["backup", "--image", "link"]] {
        assert_comes_back(&machine, &point(&machine.json(words)), "link", &machine.at("disk"));
    }
    let told = machine.json(&["backup", "--image", "link", "disk"]);
    assert_eq!((number(&told, "files"), number(&told, "others")), (2, 0), "{told}");
}
