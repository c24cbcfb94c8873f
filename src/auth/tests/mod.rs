//! Tests of authentication as a whole: issuers' keys under attack.

mod attacks;
pub(super) mod signers;
mod vectors;
