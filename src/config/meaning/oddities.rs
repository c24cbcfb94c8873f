//! What a path may have that servers read in more than one way, and some services need all the same.

use super::choice::Choice;

/// Which of these oddities a path has, or which of them somebody takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Oddities {
    /// `//`. Whoever takes them gets one slash in their place.
    pub empty_segments: bool,
    /// `%2F`: a slash within a segment to some, the end of the segment to others.
    pub encoded_slash: bool,
    /// `;parameters`, raw or encoded: a part of the segment to some, dropped by others.
    pub parameters: bool,
}

impl Oddities {
    /// Those that the gateway takes where no route decides.
    pub fn of_gateway(empty_segments: EmptySegments) -> Oddities {
        Oddities { empty_segments: empty_segments == EmptySegments::Merge, ..Oddities::default() }
    }

    /// Whether there is any.
    pub fn any(self) -> bool {
        self != Oddities::default()
    }

    /// Those of either.
    #[must_use]
    pub fn and(self, other: Oddities) -> Oddities {
        Oddities {
            empty_segments: self.empty_segments || other.empty_segments,
            encoded_slash: self.encoded_slash || other.encoded_slash,
            parameters: self.parameters || other.parameters,
        }
    }

    /// Those that are not among the ones taken.
    #[must_use]
    pub fn beyond(self, taken: Oddities) -> Oddities {
        Oddities {
            empty_segments: self.empty_segments && !taken.empty_segments,
            encoded_slash: self.encoded_slash && !taken.encoded_slash,
            parameters: self.parameters && !taken.parameters,
        }
    }
}

/// What becomes of a path with `//`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmptySegments {
    /// It is refused.
    #[default]
    Refuse,
    /// It is matched and forwarded with one slash.
    Merge,
}

impl Choice for EmptySegments {
    const ALL: &'static [Self] = &[Self::Refuse, Self::Merge];

    fn word(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Merge => "merge",
        }
    }
}

/// What becomes of a path with another oddity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kept {
    /// It is refused.
    #[default]
    Refuse,
    /// It is matched and forwarded as it is.
    Keep,
}

impl Choice for Kept {
    const ALL: &'static [Self] = &[Self::Refuse, Self::Keep];

    fn word(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Keep => "keep",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_not_beyond_it() {
        let slash = Oddities { encoded_slash: true, ..Oddities::default() };
        let both = slash.and(Oddities { empty_segments: true, ..Oddities::default() });
        assert_eq!(both.beyond(slash), Oddities { empty_segments: true, ..Oddities::default() });
        assert_eq!((slash.beyond(both).any(), both.any()), (false, true));
    }
}
