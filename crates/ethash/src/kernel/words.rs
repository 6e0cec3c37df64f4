//! Words, rows and pages, and the arithmetic on them.

use alloy_primitives::B256;

use super::read_alone;

/// A row of the cache, an item of the dataset, or a Keccak-512 digest.
pub(crate) type Row = [u32; 16];

/// What a proof of work reads at once: two items.
pub(crate) type Page = [u32; 32];

const FNV_PRIME: u32 = 0x0100_0193;

/// Ethash's variant of the FNV hash.
#[inline(always)]
pub(super) fn fnv(left: u32, right: u32) -> u32 {
    left.wrapping_mul(FNV_PRIME) ^ right
}

/// Mixes words into others.
///
/// All are read before the first is written: only so the compiler uses vectors.
#[inline(always)]
pub(super) fn fnv_into<const N: usize>(mix: &mut [u32; N], data: &[u32; N]) {
    let (old, data) = (*mix, *data);
    let mut new = [0; N];
    for at in 0..N {
        new[at] = fnv(old[at], data[at]);
    }
    *mix = new;
}

/// Shrinks a mix to a quarter.
#[inline(always)]
pub(super) fn compress(mix: &Page) -> [u32; 8] {
    std::array::from_fn(|at| {
        let [first, second, third, fourth] =
            std::array::from_fn(|word| read_alone(&mix[4 * at + word]));
        fnv(fnv(fnv(first, second), third), fourth)
    })
}

/// The words of 32 bytes.
#[inline(always)]
pub(super) fn row_words(bytes: &B256) -> [u32; 8] {
    let (words, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|at| u32::from_le_bytes(words[at]))
}

/// The bytes of eight words.
#[inline(always)]
pub(super) fn word_bytes(words: &[u32; 8]) -> B256 {
    let mut bytes = B256::ZERO;
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    bytes
}

/// Remainders by a divisor that is known beforehand: two multiplications instead of a division.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Modulo {
    divisor: u32,
    /// 2^(32 + shift) / divisor, rounded down to 32 bits.
    reciprocal: u32,
    /// The divisor's binary logarithm, rounded down.
    shift: u32,
}

impl Modulo {
    /// # Panics
    ///
    /// If the divisor is zero or at least 2^31.
    pub(crate) fn new(divisor: u32) -> Self {
        assert!(divisor != 0 && divisor < 1 << 31, "{divisor} rows");
        let shift = divisor.ilog2();
        let reciprocal = (1_u64 << (32 + shift)) / u64::from(divisor);
        Self { divisor, reciprocal: reciprocal.min(u64::from(u32::MAX)) as u32, shift }
    }

    pub(crate) const fn divisor(&self) -> u32 {
        self.divisor
    }

    /// The remainder of a value.
    ///
    /// The reciprocal is at most one too small, so the quotient is, too: the value is below 2^32
    /// and is divided by at least that. One subtraction puts it right.
    #[inline(always)]
    pub(super) fn of(&self, value: u32) -> u32 {
        let product = u64::from(value).wrapping_mul(u64::from(self.reciprocal));
        let quotient = (product >> 32) as u32 >> self.shift;
        let rest = value.wrapping_sub(quotient.wrapping_mul(self.divisor));
        rest.min(rest.wrapping_sub(self.divisor))
    }

    /// The remainders of several values.
    #[inline(always)]
    pub(super) fn of_each<const N: usize>(&self, values: [u32; N]) -> [u32; N] {
        let mut rests = [0; N];
        for at in 0..N {
            rests[at] = self.of(values[at]);
        }
        rests
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn remainders_are_right_at_the_edges() {
        for divisor in [1, 2, 3, 16, 255, 256, 262_139, 8_388_593, (1 << 31) - 1] {
            let modulo = Modulo::new(divisor);
            for value in [0, 1, divisor - 1, divisor, divisor + 1, u32::MAX - 1, u32::MAX] {
                assert_eq!(modulo.of(value), value % divisor, "{value} % {divisor}");
            }
            let largest_multiple = u32::MAX / divisor * divisor;
            assert_eq!(modulo.of(largest_multiple), 0, "{divisor}");
            assert_eq!(modulo.of(largest_multiple.wrapping_sub(1)), divisor - 1, "{divisor}");
        }
    }

    proptest! {
        #[test]
        fn remainders_are_those_of_a_division(divisor in 1_u32..1 << 31, value: u32) {
            prop_assert_eq!(Modulo::new(divisor).of(value), value % divisor);
        }

        #[test]
        fn words_and_bytes_are_the_same(bytes: [u8; 32]) {
            let bytes = B256::from(bytes);
            prop_assert_eq!(word_bytes(&row_words(&bytes)), bytes);
        }
    }
}
