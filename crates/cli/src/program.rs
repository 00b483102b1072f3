//! What can be told of a program from its file, without running it: whether it needs a loader and libraries, for which
//! processor it is, and which version of Seawall it says it is.
//!
//! Nothing here proves where a file came from. It only keeps the wrong one from being stored by mistake.

/// What the file of a program says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The processor, as the kernel names it.
    pub(crate) processor: &'static str,
    /// The version of Seawall.
    pub(crate) version: String,
}

/// Stands in every program that is built from these sources, so that its file says what it is.
#[used]
static MARK: &str = concat!("[seawall program ", env!("CARGO_PKG_VERSION"), "]");
const MARK_BEGIN: &[u8] = b"[seawall program ";
const VERSION_BYTES_MAX: usize = 32;

const PROGRAM_HEADER_INTERPRETER: u32 = 3;
const PROCESSORS: [(u16, &str); 6] =
    [(3, "i686"), (21, "ppc64le"), (22, "s390x"), (62, "x86_64"), (183, "aarch64"), (243, "riscv64")];

impl Program {
    /// Reads the file of a static program of Seawall; or says why it is none.
    pub(crate) fn read(file: &[u8]) -> Result<Program, &'static str> {
        let elf = Elf::of(file).ok_or("it is no program for Linux (no ELF file)")?;
        let processor = elf.number(18, 2).and_then(|found| u16::try_from(found).ok());
        let known = PROCESSORS.iter().find(|(number, _)| Some(*number) == processor);
        let (_, processor) = known.ok_or("it is for a processor that is not known here")?;
        match elf.is_static() {
            Some(true) => {}
            Some(false) => {
                return Err("it is not static: it would need a loader and libraries where it runs");
            }
            None => return Err("it is cut off, or no whole ELF file"),
        }
        let version =
            version(file).ok_or("it is not a program of Seawall, or one that is too old to say so")?;
        Ok(Program { processor, version })
    }
}

/// The System V ABI's object files, as far as is needed here.
struct Elf<'f> {
    file: &'f [u8],
    wide: bool,
    little: bool,
}

impl Elf<'_> {
    fn of(file: &[u8]) -> Option<Elf<'_>> {
        let wide = match file.get(4)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        file.starts_with(b"\x7fELF").then_some(Elf { file, wide, little: *file.get(5)? == 1 })
    }

    /// The number of `bytes` bytes at `offset`.
    fn number(&self, offset: usize, bytes: usize) -> Option<u64> {
        let raw = self.file.get(offset..offset.checked_add(bytes)?)?;
        let add = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        Some(if self.little { raw.iter().rev().fold(0, add) } else { raw.iter().fold(0, add) })
    }

    /// Whether no program header asks for an interpreter; `None` if the headers are not all there.
    fn is_static(&self) -> Option<bool> {
        let (table, size, count) = if self.wide { ((32, 8), 54, 56) } else { ((28, 4), 42, 44) };
        let start = usize::try_from(self.number(table.0, table.1)?).ok()?;
        let size = usize::try_from(self.number(size, 2)?).ok()?;
        let count = usize::try_from(self.number(count, 2)?).ok().filter(|count| *count > 0)?;
        let kinds: Option<Vec<u64>> =
            (0..count).map(|index| self.number(start.checked_add(index.checked_mul(size)?)?, 4)).collect();
        Some(!kinds?.contains(&u64::from(PROGRAM_HEADER_INTERPRETER)))
    }
}

/// The version in the first mark that reads as one.
fn version(file: &[u8]) -> Option<String> {
    let mut rest = file;
    while let Some(at) = rest.windows(MARK_BEGIN.len()).position(|window| window == MARK_BEGIN) {
        rest = rest.get(at.saturating_add(MARK_BEGIN.len())..)?;
        let end = rest.iter().take(VERSION_BYTES_MAX).position(|byte| *byte == b']');
        let fits = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_lowercase() || b".-".contains(byte);
        let named = end.and_then(|end| rest.get(..end)).filter(|v| !v.is_empty() && v.iter().all(fits));
        if let Some(version) = named {
            return String::from_utf8(version.to_vec()).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest file that passes: a header, one program header, and the mark.
    fn file(kind: u32, mark: &str) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18] = 62;
        file[32] = 64;
        (file[54], file[56]) = (56, 1);
        file[64..68].copy_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(mark.as_bytes());
        file
    }

    #[test]
    fn a_static_program_says_what_it_is() {
        let found = Program::read(&file(1, "x[seawall program ]y[seawall program 1.2.3-rc.1]z"));
        assert_eq!(found, Ok(Program { processor: "x86_64", version: "1.2.3-rc.1".into() }));
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        let mut foreign = file(1, MARK);
        foreign[18] = 99;
        for (file, why) in [
            (file(3, MARK), "not static"),
            (file(1, "[seawall  program ../x]"), "not a program of Seawall"),
            (file(1, MARK)[..66].to_vec(), "cut off"),
            (foreign, "processor"),
            (b"#!/bin/sh".to_vec(), "no ELF"),
            (Vec::new(), "no ELF"),
        ] {
            let told = Program::read(&file).unwrap_err();
            assert!(told.contains(why), "{told} {why}");
        }
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_refused_without_panic() {
        let whole = file(1, MARK);
        for end in 0..whole.len() {
            assert!(Program::read(&whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn this_very_program_says_what_it_is() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(own.windows(MARK.len()).any(|bytes| bytes == MARK.as_bytes()), "{MARK} is in the file");
    }
}
