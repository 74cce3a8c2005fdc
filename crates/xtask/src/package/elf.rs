//! As much of ELF as tells a static binary from one that needs a loader, and which C library that one wants.

use anyhow::{Context as _, Result, ensure};

/// `p_type` of the segment that names the loader.
const PT_INTERP: u32 = 3;

/// Whether an x86_64 program asks for an interpreter, the loader of shared libraries.
///
/// ```text
/// file header, little-endian        program header
///  0  4  7f 45 4c 46                 0  4  p_type
///  4  1  2: 64 bits                  4 52  the rest
///  5  1  1: little-endian
/// 32  8  where the program headers are
/// 54  2  the size of one
/// 56  2  how many
/// ```
pub(super) fn has_interpreter(file: &[u8]) -> Result<bool> {
    ensure!(file.starts_with(b"\x7fELF\x02\x01"), "not a little-endian ELF file of 64 bits");
    let start = usize::try_from(u64::from_le_bytes(field(file, 32)?))?;
    let size = usize::from(u16::from_le_bytes(field(file, 54)?));
    let count = usize::from(u16::from_le_bytes(field(file, 56)?));
    ensure!(count > 0, "no program headers");
    for index in 0..count {
        let at = index.checked_mul(size).and_then(|offset| start.checked_add(offset));
        let at = at.context("program headers beyond the end")?;
        if u32::from_le_bytes(field(file, at)?) == PT_INTERP {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The newest version of the C library that a program asks for, by the names of the versions that it has symbols of
/// (`GLIBC_2.28`); `None` if there are none.
pub(super) fn newest_glibc(file: &[u8]) -> Option<(u32, u32)> {
    const NAME: &[u8] = b"\0GLIBC_";
    file.windows(NAME.len())
        .enumerate()
        .filter(|(_, window)| *window == NAME)
        .filter_map(|(at, _)| {
            let name = file.get(at + NAME.len()..)?.split(|&byte| byte == 0).next()?;
            let mut numbers = std::str::from_utf8(name).ok()?.split('.');
            Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        })
        .max()
}

fn field<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N]> {
    file.get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .with_context(|| format!("ends before byte {at}"))
}

#[cfg(test)]
mod tests {
    use super::{has_interpreter, newest_glibc};

    /// A file with program headers of these types.
    fn file(types: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32] = 64;
        file[54] = 56;
        file[56] = u8::try_from(types.len()).unwrap_or(u8::MAX);
        for kind in types {
            file.extend_from_slice(&kind.to_le_bytes());
            file.extend_from_slice(&[0; 52]);
        }
        file
    }

    #[test]
    fn a_program_with_a_loader_is_told_from_one_without() {
        assert_eq!(has_interpreter(&file(&[6, 3, 1])).ok(), Some(true));
        assert_eq!(has_interpreter(&file(&[1, 1, 2])).ok(), Some(false));
    }

    #[test]
    fn what_is_no_whole_program_is_refused() {
        let whole = file(&[1, 1]);
        for length in 0..64 + 56 + 4 {
            assert!(has_interpreter(&whole[..length]).is_err(), "{length}");
        }
        assert!(has_interpreter(&file(&[])).is_err());
        assert!(has_interpreter(b"#!/bin/sh\n").is_err());
    }

    #[test]
    fn the_newest_c_library_counts() {
        let names = b"\0__libc_start_main\0GLIBC_2.2.5\0GLIBC_2.28\0GLIBC_2.9\0GLIBC_PRIVATE\0";
        assert_eq!(newest_glibc(names), Some((2, 28)));
        assert_eq!(newest_glibc(b"\0static\0"), None);
    }
}
