//! Randomness from the operating system.

/// Fills an array with random bytes.
///
/// # Panics
/// Where the operating system has no randomness: nothing of this program is safe then.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A random word.
pub fn random_u64() -> u64 {
    u64::from_ne_bytes(random_bytes())
}

/// A random double word.
pub fn random_u128() -> u128 {
    u128::from_ne_bytes(random_bytes())
}
