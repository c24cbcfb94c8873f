//! Path patterns in the syntax of matchit.

/// Translates a pattern into the syntax of matchit; for `/below/*` also its `/below/`. Parameters are renamed by
/// position, so two routes may use different names for the same segment.
pub(super) fn translate(written: &str) -> Result<(String, Option<String>), &'static str> {
    let Some(segments) = written.strip_prefix('/') else { return Err("must begin with /") };
    let mut pattern = String::new();
    let mut segments = segments.split('/').enumerate().peekable();
    while let Some((position, segment)) = segments.next() {
        pattern.push('/');
        if segment == "*" {
            if segments.peek().is_some() {
                return Err("* must be the last segment");
            }
            return Ok((format!("{pattern}{{*{position}}}"), Some(pattern)));
        }
        match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some("") => return Err("a parameter needs a name"),
            Some(name) if !name.contains(['{', '}', '*']) => pattern += &format!("{{{position}}}"),
            // A canonical path has no brace, so a literal one could not match anything. And braces have a meaning in
            // matchit.
            _ if segment.contains(['{', '}']) => return Err("{parameter} must be a whole segment"),
            _ if segment.contains('*') => return Err("* must be a whole segment"),
            _ => pattern.push_str(segment),
        }
    }
    Ok((pattern, None))
}
