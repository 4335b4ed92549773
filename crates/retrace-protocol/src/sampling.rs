//! The seeded sampling decision that all Retrace SDKs share (PROTOCOL.md section 16).

const FNV_OFFSET: u32 = 2_166_136_261;
const FNV_PRIME: u32 = 16_777_619;

/// The 32-bit FNV-1a hash of `seed:key`, taken over Unicode scalar values instead of bytes.
///
/// For ASCII this is the usual FNV-1a. The TypeScript SDK hashes UTF-16 units and so differs above U+FFFF; this follows
/// the Python SDK.
///
/// ```
/// assert_eq!(retrace_protocol::sampling::hash("production", "research-agent"), 0x9870_d689);
/// ```
#[must_use]
pub fn hash(seed: &str, key: &str) -> u32 {
    seed.chars()
        .chain(std::iter::once(':'))
        .chain(key.chars())
        .fold(FNV_OFFSET, |hash, c| (hash ^ u32::from(c)).wrapping_mul(FNV_PRIME))
}

/// Returns true if the run named `key` is recorded at `rate` with this `seed`.
///
/// The decision is per name, not per run: the same name is always or never recorded. Rates of 1 and more record all, rates of 0
/// and less (and NaN) none. Without a seed the SDKs draw a random number instead; two services cannot share that decision, so
/// that it is up to the caller.
///
/// ```
/// use retrace_protocol::sampling::is_sampled;
///
/// assert!(is_sampled(0.9, "production", "research-agent"));
/// assert!(!is_sampled(0.5, "production", "research-agent"));
/// ```
#[must_use]
pub fn is_sampled(rate: f64, seed: &str, key: &str) -> bool {
    if rate >= 1.0 {
        return true;
    }
    rate > 0.0 && f64::from(hash(seed, key)) / (f64::from(u32::MAX) + 1.0) < rate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_outside_the_unit_interval_decide_alone() {
        for (rate, recorded) in [(1.5, true), (f64::INFINITY, true), (-0.1, false), (f64::NAN, false)] {
            assert_eq!(is_sampled(rate, "seed", "agent"), recorded, "{rate}");
        }
    }

    #[test]
    fn the_bound_is_strict() {
        let at = f64::from(hash("s", "k")) / 4_294_967_296.0;
        assert!(!is_sampled(at, "s", "k"));
        assert!(is_sampled(at + 1.0 / 4_294_967_296.0, "s", "k"));
    }
}
