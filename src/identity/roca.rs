/// Whether an RSA modulus carries the fingerprint of the Infineon library (CVE-2017-15361, "ROCA"): modulo every small prime it is a
/// power of 65537. Such keys can be factored. An honest modulus looks like one with a probability under 2^-27.
///
/// Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, section 2.3.
pub(super) fn is_weak(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|&prime| {
        let rest = modulus.iter().fold(0, |rest, &byte| (rest * 256 + u32::from(byte)) % prime);
        let mut power = 1;
        (0..prime).any(|_| {
            power = power * 65537 % prime;
            power == rest
        })
    })
}

const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127,
    131, 137, 139, 149, 151, 157, 163, 167,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// 65537 to the 128th has the fingerprint by construction.
    #[test]
    fn a_power_of_65537_is_weak_and_its_neighbour_is_not() {
        let mut number = vec![1u8];
        for _ in 0..128 {
            // times 65537 = (x << 16) + x, little-endian
            let mut product = vec![0u8; 2];
            product.extend(&number);
            let mut carry = 0u16;
            for (place, digit) in product.iter_mut().enumerate() {
                let sum = u16::from(*digit) + u16::from(*number.get(place).unwrap_or(&0)) + carry;
                *digit = sum as u8;
                carry = sum >> 8;
            }
            if carry > 0 {
                product.push(carry as u8);
            }
            number = product;
        }
        number.reverse();
        assert_eq!(number.len(), 257);
        assert!(is_weak(&number));
        *number.last_mut().unwrap() ^= 2;
        assert!(!is_weak(&number));
    }
}
