/// The positions of `weights`, each as often as its weight says and spread evenly: `[2, 1]` is 0, 1, 0 and not 0, 0, 1.
///
/// Made once per list of servers, so that a request only counts up. Nothing for weights whose smallest common turn is too long; the
/// servers are then drawn by chance.
pub(super) fn schedule(weights: &[u32]) -> Vec<u16> {
    const MOST_TURNS: i64 = 8_192;
    const MOST_STEPS: i64 = 4_000_000;
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
    let total: i64 = weights.iter().sum();
    let servers = i64::try_from(weights.len()).unwrap_or(i64::MAX);
    if total > MOST_TURNS || total.saturating_mul(servers) > MOST_STEPS || u16::try_from(weights.len()).is_err() {
        return Vec::new();
    }
    // Everybody gains its weight in each turn, and who has most pays for all of them.
    let mut credit = vec![0_i64; weights.len()];
    (0..total)
        .filter_map(|_| {
            credit.iter_mut().zip(&weights).for_each(|(credit, weight)| *credit += weight);
            let (position, most) = credit.iter_mut().enumerate().rev().max_by_key(|(_, credit)| **credit)?;
            *most -= total;
            u16::try_from(position).ok()
        })
        .collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread_by_weight() {
        for (weights, expected) in [
            (vec![1, 1, 1], vec![0, 1, 2]),
            (vec![50, 50], vec![0, 1]),
            (vec![2, 1], vec![0, 1, 0]),
            (vec![5, 1, 1], vec![0, 0, 1, 0, 2, 0, 0]),
            (vec![0, 3], vec![1]),
            (vec![0], vec![]),
            (vec![], vec![]),
        ] {
            assert_eq!(schedule(&weights), expected, "{weights:?}");
        }
    }

    #[test]
    fn a_turn_that_would_take_too_long_is_left_to_chance() {
        let weights: Vec<u32> = (0..1_024).map(|server| 1 + server % 100).collect();
        assert!(schedule(&weights).is_empty());
    }
}
