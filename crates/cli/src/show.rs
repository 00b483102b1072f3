//! Values as people read them, and paths as scripts do.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use format::id::hex;
use format::path::TreePath;
use serde_json::{Map, Value};

/// Digits of an id that are shown where a prefix is enough.
const ID_DIGITS: usize = 12;

/// The first digits of an id.
pub(crate) fn short(id: impl std::fmt::Display) -> String {
    let mut text = id.to_string();
    text.truncate(ID_DIGITS);
    text
}

/// `1.5 GiB`
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" || value >= 100.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// `1 file`, `2 files`
pub(crate) fn count(number: u64, what: &str) -> String {
    let (ending, stem) = match what.strip_suffix('y') {
        Some(stem) if number != 1 => ("ies", stem),
        _ => (if number == 1 { "" } else { "s" }, what),
    };
    format!("{number} {stem}{ending}")
}

/// A path in a point; its root has no name of its own.
pub(crate) fn path(path: &TreePath) -> String {
    if path.is_root() { "/".to_owned() } else { path.to_string() }
}

/// Any bytes on one line: what is not UTF-8 and control characters are escaped.
pub(crate) fn bytes(raw: &[u8]) -> String {
    let mut line = String::with_capacity(raw.len());
    for part in raw.utf8_chunks() {
        for c in part.valid().chars() {
            if c.is_control() || c == '\\' { line.extend(c.escape_default()) } else { line.push(c) }
        }
        part.invalid().iter().for_each(|b| line.push_str(&format!("\\x{b:02x}")));
    }
    line
}

/// `path` for scripts, and `path_bytes` in hexadecimal where it is not UTF-8.
pub(crate) fn path_fields(raw: &[u8]) -> Map<String, Value> {
    text_fields("path", raw)
}

/// The same under another name.
pub(crate) fn text_fields(name: &str, raw: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert(name.to_owned(), String::from_utf8_lossy(raw).into_owned().into());
    if std::str::from_utf8(raw).is_err() {
        fields.insert(format!("{name}_bytes"), hex(raw).into());
    }
    fields
}

/// Paths, each as an object for scripts.
pub(crate) fn paths(paths: &[TreePath]) -> Value {
    paths.iter().map(|path| Value::Object(path_fields(path.as_bytes()))).collect()
}

/// Problems for scripts.
pub(crate) fn problems(problems: &[engine::Problem]) -> Value {
    let one = |problem: &engine::Problem| {
        let mut fields = path_fields(problem.path.as_bytes());
        fields.insert("what".to_owned(), problem.what.clone().into());
        Value::Object(fields)
    };
    problems.iter().map(one).collect()
}

/// A word as a shell reads it back.
pub(crate) fn shell_word(word: &OsStr) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(b);
    if !word.is_empty() && word.as_bytes().iter().all(plain) {
        return word.to_string_lossy().into_owned();
    }
    match word.to_str() {
        Some(text) if !text.chars().any(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let escaped = word.as_bytes().iter().map(|b| format!("\\x{b:02x}"));
            format!("$'{}'", escaped.collect::<String>())
        }
    }
}

/// Rows under their headings, in columns; those whose heading starts with `>` are aligned to the right.
pub(crate) fn table(out: &mut dyn Write, headings: &[&str], rows: &[Vec<String>]) -> std::io::Result<()> {
    let names: Vec<String> = headings.iter().map(|h| h.trim_start_matches('>').to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&names]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    for row in [&names].into_iter().chain(rows) {
        let mut line = String::new();
        for ((cell, heading), width) in row.iter().zip(headings).zip(&widths) {
            let space = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) =
                if heading.starts_with('>') { (space.as_str(), "") } else { ("", space.as_str()) };
            line.push_str(&format!("{before}{cell}{after}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_are_short() {
        let sizes = [0, 1023, 1536, 150 << 20, 5 << 40, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.5 KiB", "150 MiB", "5.0 TiB", "16.0 EiB"]);
        assert_eq!(
            [count(1, "file"), count(2, "file"), count(0, "entry")],
            ["1 file", "2 files", "0 entries"]
        );
    }

    #[test]
    fn a_path_that_is_not_utf8_keeps_its_bytes() {
        let fields = path_fields(b"a\xff");
        assert_eq!(fields["path"], "a\u{fffd}");
        assert_eq!(fields["path_bytes"], "61ff");
        assert!(!path_fields("ä".as_bytes()).contains_key("path_bytes"));
        assert_eq!(bytes(b"a\n\xff"), "a\\n\\xff");
    }

    #[test]
    fn a_shell_reads_back_what_is_shown() {
        let words: [&[u8]; 7] =
            [b"plain/path", b"a b", b"it's", b"", b"a\nb", b"\xff", b"s3://b/p?endpoint=http://h:1&region=r"];
        for word in words {
            let typed = shell_word(OsStr::from_bytes(word));
            let told =
                std::process::Command::new("bash").args(["-c", &format!("printf %s {typed}")]).output();
            assert_eq!(told.unwrap().stdout, word, "{typed}");
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut out = Vec::new();
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "1000".to_owned()]];
        table(&mut out, &["x", ">size"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "x    size\na       1\nbcd  1000\n");
    }
}
