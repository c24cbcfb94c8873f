//! Types that are written as one word out of a few.

/// A type that is written as one word out of a few: `redis`, `memory` or `off`.
pub trait Choice: Copy + 'static {
    /// Every value, in the order in which a mistake lists the words.
    const ALL: &'static [Self];

    /// The word of this value.
    fn word(self) -> &'static str;
}

impl Choice for bool {
    const ALL: &'static [Self] = &[true, false];

    fn word(self) -> &'static str {
        if self { "true" } else { "false" }
    }
}
