//! Which sets of instructions there are, and which of them this processor has.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use super::keccak;

/// The set of instructions that the loops are compiled for.
///
/// It is only a name: what runs is what [`Self::available`] lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// What every processor of the architecture has.
    Portable,
    /// 64-bit ARM with its vectors of 128 bits.
    Neon,
    /// x86 with vectors of 256 bits.
    Avx2,
    /// x86 with vectors of 512 bits.
    Avx512,
}

impl Kernel {
    /// All there are, on any processor.
    const ALL: [Self; 4] = [Self::Portable, Self::Neon, Self::Avx2, Self::Avx512];

    /// The best that this processor has.
    #[must_use]
    pub fn best() -> Self {
        Instructions::best().kernel()
    }

    /// All that this processor has, best last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        Instructions::available().iter().map(|it| it.kernel()).collect()
    }

    /// Its name: `portable`, `neon`, `avx2` or `avx512`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kernel {
    type Err = KernelError;

    /// The kernel of this name, whether this processor has it or not.
    fn from_str(name: &str) -> Result<Self, KernelError> {
        let known = Self::ALL.into_iter().find(|kernel| kernel.name() == name);
        known.ok_or_else(|| KernelError::Unknown { name: name.into() })
    }
}

/// Why a kernel cannot be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// There is none of this name.
    #[error("no kernel is named {name:?}, there are {}", names(&Kernel::ALL))]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The processor lacks its instructions.
    #[error("this processor cannot run the kernel {kernel}, available are {}", names(.available))]
    Unavailable {
        /// The kernel asked for.
        kernel: Kernel,
        /// Those that can be chosen, best last.
        available: Vec<Kernel>,
    },
}

fn names(kernels: &[Kernel]) -> String {
    kernels.iter().map(|kernel| kernel.name()).collect::<Vec<_>>().join(", ")
}

/// The instructions that the loops may use. A closed set; the portable ones always work.
///
/// Only [`Self::available`] makes the others, so holding one is proof that the processor has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instructions {
    Portable,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Instructions {
    /// The best that this processor has.
    pub(crate) fn best() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// The instructions of a kernel, if this processor has them.
    pub(crate) fn of(kernel: Kernel) -> Result<Self, KernelError> {
        let found = Self::available().iter().find(|it| it.kernel() == kernel);
        found
            .copied()
            .ok_or_else(|| KernelError::Unavailable { kernel, available: Kernel::available() })
    }

    /// The kernel's public name.
    pub(crate) const fn kernel(self) -> Kernel {
        match self {
            Self::Portable => Kernel::Portable,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Kernel::Neon,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Kernel::Avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Kernel::Avx512,
        }
    }

    /// All that this processor has and that compute what the portable ones do, best last.
    pub(super) fn available() -> &'static [Self] {
        static AVAILABLE: OnceLock<Vec<Instructions>> = OnceLock::new();
        AVAILABLE.get_or_init(|| {
            let mut available = vec![Self::Portable];
            available.extend(detected().into_iter().filter(|it| it.permute_correctly()));
            available
        })
    }

    /// Whether the permutation, which alone is written by hand, is that of one state. So neither a
    /// processor that we never saw nor an emulator with a fault can make a wrong proof.
    fn permute_correctly(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => keccak::permutes_correctly::<2>(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => keccak::permutes_correctly::<4>(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => keccak::permutes_correctly::<8>(),
        }
    }
}

/// The vectors of this processor, best last.
#[cfg(target_arch = "x86_64")]
fn detected() -> Vec<Instructions> {
    let bmi = is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2");
    let avx2 = bmi && is_x86_feature_detected!("avx2");
    let avx512 = bmi
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    let found = [(avx2, Instructions::Avx2), (avx512, Instructions::Avx512)];
    found.into_iter().filter_map(|(found, it)| found.then_some(it)).collect()
}

/// The vectors of this processor.
#[cfg(target_arch = "aarch64")]
fn detected() -> Vec<Instructions> {
    let neon = std::arch::is_aarch64_feature_detected!("neon");
    neon.then_some(Instructions::Neon).into_iter().collect()
}

/// Other processors have none that we know.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detected() -> Vec<Instructions> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_found_by_its_name() {
        for kernel in Kernel::ALL {
            assert_eq!(kernel.name().parse(), Ok(kernel));
        }
    }

    #[test]
    fn an_unknown_name_is_told_the_right_ones() {
        let error = "sse9".parse::<Kernel>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "no kernel is named \"sse9\", there are portable, neon, avx2, avx512"
        );
    }

    #[test]
    fn a_kernel_that_the_processor_lacks_is_refused() {
        let available = Kernel::available();
        assert_eq!(available.first(), Some(&Kernel::Portable));
        assert_eq!(available.last(), Some(&Kernel::best()));
        for kernel in Kernel::ALL {
            match Instructions::of(kernel) {
                Ok(found) => assert_eq!(found.kernel(), kernel),
                Err(error) => {
                    assert!(!available.contains(&kernel));
                    let text = error.to_string();
                    assert!(text.contains(kernel.name()) && text.contains("portable"), "{text}");
                }
            }
        }
    }
}
