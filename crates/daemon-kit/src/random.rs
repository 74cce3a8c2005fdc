//! Numbers that nobody can guess.

/// An unpredictable number: from the kernel, or, should that ever fail, from the keyed hash whose key the process drew
/// from it at its start.
#[must_use]
pub fn unpredictable() -> u32 {
    getrandom::u32().unwrap_or_else(|_| {
        use std::hash::{BuildHasher as _, RandomState};
        let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d])
    })
}

/// 256 bits that nobody can guess, for a key.
///
/// # Errors
///
/// The kernel gives none.
pub fn secret() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_differ() {
        let numbers: HashSet<u32> = (0..1000).map(|_| unpredictable()).collect();
        assert!(numbers.len() > 990, "{} different ones of 1000", numbers.len());
    }
}
