use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// The index among `weights` that a key always gets: rendezvous hashing, so that a change of one weight moves only keys to or from
/// that one. `None` if every weight is 0.
///
/// For what is sticky without a list of servers: canaries by claim.
pub fn consistent(key: &[u8], weights: &[u32]) -> Option<usize> {
    let score = |(index, weight): (usize, &u32)| {
        let mut hasher = SipHasher13::new();
        hasher.write_usize(index);
        hasher.write(key);
        // Uniform in (0, 1); -ln(u) / w is the least for an index with probability w / sum of w.
        let uniform = ((hasher.finish() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        (-uniform.ln() / f64::from(*weight), index)
    };
    let scored = weights.iter().enumerate().filter(|(_, weight)| **weight > 0).map(score);
    scored.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, index)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(key: u32, weights: &[u32]) -> usize {
        consistent(&key.to_le_bytes(), weights).unwrap()
    }

    #[test]
    fn keys_spread_by_weight() {
        let counts = (0..10_000).fold([0_u32; 3], |mut counts, key| {
            counts[chosen(key, &[90, 10, 0])] += 1;
            counts
        });
        assert_eq!(counts[2], 0);
        assert!((800..1_200).contains(&counts[1]), "{counts:?}");
        assert_eq!(consistent(b"x", &[0, 0]), None);
        assert_eq!(consistent(b"x", &[]), None);
    }

    #[test]
    fn a_canary_that_grows_only_takes() {
        for key in 0..5_000 {
            if chosen(key, &[95, 5]) == 1 {
                assert_eq!(chosen(key, &[95, 20]), 1, "{key}");
            }
        }
    }
}
