//! A public key of an issuer: its type decides which algorithms it may verify.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use jsonwebtoken::DecodingKey;

use crate::config::AlgorithmSet;
use crate::limits::{RSA_BITS_MAX, RSA_BITS_MIN};

/// A public key that was found to be sound, and the algorithms that it verifies.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Its name. `None`: it is tried for a token of any name.
    pub kid: Option<Box<str>>,
    /// The algorithms that it verifies: those of its type, cut by what its issuer says.
    pub algorithms: AlgorithmSet,
    material: Material,
}

/// The numbers of a key.
#[derive(Clone, PartialEq, Eq)]
enum Material {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa {
        n: Box<[u8]>,
        e: Box<[u8]>,
    },
    /// An uncompressed point: 4, x, y.
    Point(Box<[u8]>),
    Ed25519([u8; ED25519_BYTES]),
}

/// Why a key is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFault {
    /// An RSA modulus of this many bits.
    RsaBits(usize),
    /// An even RSA modulus, or an exponent that is even, below 3 or over 33 bits.
    RsaNumbers,
    /// Coordinates of another length than the curve's, or a point that is not on it.
    Point,
    /// A point that verifies signatures that nobody made, or not 32 bytes.
    Ed25519,
}

impl PublicKey {
    /// An RSA key. Numbers are big-endian; leading zeros do not count.
    ///
    /// # Errors
    /// The key is too short, too long, or its numbers make no RSA key.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<PublicKey, KeyFault> {
        let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
        let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err(KeyFault::RsaBits(bits));
        }
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        // The bound of the cryptography below. With e = 1 the signature is the message: anybody could sign.
        let exponent =
            e.iter().try_fold(0_u64, |sum, byte| (sum < 1 << 33).then(|| sum << 8 | u64::from(*byte)));
        let is_exponent = exponent.is_some_and(|exponent| (3..1 << 33).contains(&exponent));
        if !is_odd(n) || !is_odd(e) || !is_exponent {
            return Err(KeyFault::RsaNumbers);
        }
        Ok(Self::new(AlgorithmSet::RSA, Material::Rsa { n: n.into(), e: e.into() }))
    }

    /// A key on the curve P-256.
    ///
    /// # Errors
    /// The coordinates are not those of a point on it.
    pub fn p256(x: &[u8], y: &[u8]) -> Result<PublicKey, KeyFault> {
        let point = point(x, y, 32)?;
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).map_err(|_| KeyFault::Point)?;
        Ok(Self::new(AlgorithmSet::P256, Material::Point(point.into())))
    }

    /// A key on the curve P-384.
    ///
    /// # Errors
    /// The coordinates are not those of a point on it.
    pub fn p384(x: &[u8], y: &[u8]) -> Result<PublicKey, KeyFault> {
        let point = point(x, y, 48)?;
        ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &point).map_err(|_| KeyFault::Point)?;
        Ok(Self::new(AlgorithmSet::P384, Material::Point(point.into())))
    }

    /// A key on the curve Ed25519.
    ///
    /// # Errors
    /// It is not 32 bytes, or a point of small order.
    pub fn ed25519(x: &[u8]) -> Result<PublicKey, KeyFault> {
        let bytes: [u8; ED25519_BYTES] = x.try_into().map_err(|_| KeyFault::Ed25519)?;
        let mut without_sign = bytes;
        without_sign[ED25519_BYTES - 1] &= 0x7f;
        if SMALL_ORDER.contains(&without_sign) {
            return Err(KeyFault::Ed25519);
        }
        Ok(Self::new(AlgorithmSet::ED25519, Material::Ed25519(bytes)))
    }

    fn new(algorithms: AlgorithmSet, material: Material) -> PublicKey {
        PublicKey { kid: None, algorithms, material }
    }

    /// Whether it is the same key, whatever it is called and used for.
    pub fn is_same_key(&self, other: &PublicKey) -> bool {
        self.material == other.material
    }

    /// The key as the library takes it.
    pub(super) fn decoding_key(&self) -> DecodingKey {
        match &self.material {
            Material::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
            Material::Point(point) => DecodingKey::from_ec_der(point),
            Material::Ed25519(bytes) => DecodingKey::from_ed_der(bytes),
        }
    }

    /// The bytes that tell this key from every other one.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        match &self.material {
            Material::Rsa { n, e } => [n, e],
            Material::Point(point) => [point, b""],
            Material::Ed25519(bytes) => [bytes, b""],
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.kid, self.algorithms)
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFault::RsaBits(bits) => {
                write!(f, "is an RSA key of {bits} bits, not of {RSA_BITS_MIN} to {RSA_BITS_MAX}")
            }
            KeyFault::RsaNumbers => {
                f.write_str("is an RSA key with a modulus or exponent that is no such number")
            }
            KeyFault::Point => f.write_str("is not a point on its curve"),
            KeyFault::Ed25519 => f.write_str("is not a point that Ed25519 may use"),
        }
    }
}

fn without_leading_zeros(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// "The length of this octet string MUST be the full size of a coordinate" (RFC 7518 §6.2.1.2).
fn point(x: &[u8], y: &[u8], coordinate_bytes: usize) -> Result<Vec<u8>, KeyFault> {
    if x.len() != coordinate_bytes || y.len() != coordinate_bytes {
        return Err(KeyFault::Point);
    }
    Ok([&[UNCOMPRESSED], x, y].concat())
}

/// The first byte of a point that is written with both coordinates (SEC 1 §2.3.3).
const UNCOMPRESSED: u8 = 4;
const ED25519_BYTES: usize = 32;

/// The encodings of points of small order, without the sign of x: the numbers 0, 1, the two of order 8, p-1, p and p+1,
/// where p is 2^255-19. Under such a key one signature in eight at most is "right" for any message, whoever made it.
const SMALL_ORDER: [[u8; ED25519_BYTES]; 7] = [
    small(0, 0, 0),
    small(1, 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    small(0xec, 0xff, 0x7f),
    small(0xed, 0xff, 0x7f),
    small(0xee, 0xff, 0x7f),
];

const fn small(first: u8, middle: u8, last: u8) -> [u8; ED25519_BYTES] {
    let mut bytes = [middle; ED25519_BYTES];
    bytes[0] = first;
    bytes[ED25519_BYTES - 1] = last;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rsa_key_has_a_size_and_odd_numbers() {
        let modulus = |bits: usize| {
            let mut n = vec![0xff; bits.div_ceil(8)];
            n[0] = 0xff >> (n.len() * 8 - bits);
            n
        };
        for bits in [512, 1024, 2047, 8193, 16_384] {
            assert_eq!(PublicKey::rsa(&modulus(bits), &[1, 0, 1]), Err(KeyFault::RsaBits(bits)));
        }
        assert_eq!(PublicKey::rsa(&[], &[3]), Err(KeyFault::RsaBits(0)));
        assert_eq!(PublicKey::rsa(&[0; 300], &[3]), Err(KeyFault::RsaBits(0)));
        for bits in [2048, 2049, 3072, 4096, 8192] {
            assert!(PublicKey::rsa(&modulus(bits), &[1, 0, 1]).is_ok(), "{bits}");
        }
        let n = modulus(2048);
        for e in
            [&[][..], &[0], &[1], &[0, 1], &[2], &[4], &[1, 0, 0], &[2, 0, 0, 0, 1], &[255; 256], &[255; 9]]
        {
            assert_eq!(PublicKey::rsa(&n, e), Err(KeyFault::RsaNumbers), "{e:?}");
        }
        for e in [&[3][..], &[17], &[1, 0, 1], &[0, 0, 1, 0, 1], &[255; 4]] {
            assert!(PublicKey::rsa(&n, e).is_ok(), "{e:?}");
        }
        let mut even = n.clone();
        even[255] = 0xfe;
        assert_eq!(PublicKey::rsa(&even, &[3]), Err(KeyFault::RsaNumbers));
        let longer = [&[0, 0][..], &n].concat();
        assert_eq!(PublicKey::rsa(&longer, &[0, 3]), PublicKey::rsa(&n, &[3]), "leading zeros do not count");
    }

    #[test]
    fn a_point_is_on_its_curve_and_of_its_length() {
        for (x, y) in [([0; 32], [0; 32]), ([1; 32], [1; 32]), ([255; 32], [255; 32])] {
            assert_eq!(PublicKey::p256(&x, &y), Err(KeyFault::Point));
        }
        assert_eq!(PublicKey::p256(&[1; 31], &[1; 33]), Err(KeyFault::Point));
        assert_eq!(PublicKey::p256(&[], &[]), Err(KeyFault::Point));
        assert_eq!(PublicKey::p384(&[1; 48], &[1; 48]), Err(KeyFault::Point));
        assert_eq!(PublicKey::p384(&[1; 32], &[1; 32]), Err(KeyFault::Point));
    }

    #[test]
    fn an_ed25519_key_of_small_order_is_refused_under_both_signs() {
        for bytes in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut point = bytes;
                point[31] |= sign;
                assert_eq!(PublicKey::ed25519(&point), Err(KeyFault::Ed25519), "{point:?}");
            }
        }
        for wrong in [&[9; 31][..], &[9; 33], &[]] {
            assert_eq!(PublicKey::ed25519(wrong), Err(KeyFault::Ed25519));
        }
        assert!(PublicKey::ed25519(&[9; 32]).is_ok());
    }
}
