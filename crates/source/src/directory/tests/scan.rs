use std::fs;

use format::meta::Kind;

use super::*;

#[test]
fn a_directory_is_walked_in_path_order_from_its_own_entry() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    for name in ["a/b/c", "a b", "a-b", "ab", "a/z"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let found = entries(scan_of(&[dir.path()]));
    let paths: Vec<&[u8]> = found.iter().map(|found| found.path.as_bytes()).collect();
    assert_eq!(paths, [&b""[..], b"a", b"a/b", b"a/b/c", b"a/z", b"a b", b"a-b", b"ab"]);
    assert_eq!(entry(&found, b"a/b").meta.kind, Kind::Directory);
    assert_eq!((entry(&found, b"a b").meta.size, content(entry(&found, b"a b"))), (3, b"a b".to_vec()));
}
