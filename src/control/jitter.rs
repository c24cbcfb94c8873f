//! Chance, so that what began together does not go on in step.

use rustix::rand::{GetRandomFlags, getrandom};

/// A number from -0.1 to 0.1.
pub(super) fn jitter() -> f64 {
    let mut bytes = [0; 4];
    // Without random bytes there is no jitter, which is no reason to fail.
    match getrandom(&mut bytes, GetRandomFlags::NONBLOCK) {
        Ok(_) => (f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX) - 0.5) / 5.0,
        Err(_) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_a_tenth() {
        let drawn: Vec<f64> = (0..1_000).map(|_| jitter()).collect();
        assert!(drawn.iter().all(|one| one.abs() <= 0.1));
        assert!(drawn.iter().any(|one| *one > 0.05) && drawn.iter().any(|one| *one < -0.05));
    }
}
