//! Which file imports which, read from `use` statements and paths; and the circles among them.

use std::collections::{BTreeMap, BTreeSet};

/// The modules of one crate: a name per file, and the text of its code.
pub(super) struct Crate {
    files: BTreeMap<Path, File>,
}

/// Segments below the crate's root: `src/http1/scan.rs` is `["http1", "scan"]`, `src/lib.rs` is `[]`.
type Path = Vec<String>;

struct File {
    name: String,
    /// Every path that the code names, with the file's own position already taken into account.
    paths: Vec<Path>,
    /// Names that the file imports or exports again, and where they lead.
    aliases: BTreeMap<String, Path>,
}

impl Crate {
    /// Reads files given as path (`src/http1/scan.rs`) and code without tests.
    pub(super) fn read(sources: impl IntoIterator<Item = (String, String)>) -> Crate {
        let sources: Vec<(String, String)> = sources.into_iter().collect();
        let modules: BTreeSet<Path> = sources.iter().map(|(name, _)| module_of(name)).collect();
        let read = |(name, code): (String, String)| {
            let module = module_of(&name);
            let file = File::read(name, &module, &code, &modules);
            (module, file)
        };
        Crate { files: sources.into_iter().map(read).collect() }
    }

    /// The files that each file imports from, by name. Re-exports lead to the file that defines a thing.
    pub(super) fn edges(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let edges = self.files.values().map(|file| {
            let targets = file.paths.iter().filter_map(|path| self.definition(path, 0));
            (file.name.as_str(), targets.filter(|target| *target != file.name).collect())
        });
        edges.collect()
    }

    /// The file that defines what a path names. Follows at most as many re-exports as there are levels in a crate.
    fn definition(&self, path: &[String], depth: usize) -> Option<&str> {
        let module = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
        let file = &self.files[&path[..module]];
        let alias = path.get(module).and_then(|item| file.aliases.get(item));
        match alias.filter(|_| depth < DEPTH_MAX) {
            Some(target) => {
                let rest = &path[module + 1..];
                self.definition(&[target.as_slice(), rest].concat(), depth + 1)
            }
            None => Some(&file.name),
        }
    }
}

/// Every circle that is left when files that import nothing of a circle are taken away: one path around each.
pub(super) fn circles<'a>(edges: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let mut left = edges.clone();
    let mut found = Vec::new();
    loop {
        let known: BTreeSet<&str> = left.keys().copied().collect();
        let before = left.len();
        left.retain(|_, targets| targets.iter().any(|target| known.contains(target)));
        if left.len() != before {
            continue;
        }
        let Some(circle) = around(&left) else { return found };
        // Its first edge is cut, so that the next circle is another one.
        if let Some(targets) = left.get_mut(circle[0]) {
            targets.remove(circle.get(1).copied().unwrap_or(circle[0]));
        }
        found.push(circle);
    }
}

/// Walks from file to file until one comes again.
fn around<'a>(left: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    let mut walk = vec![*left.keys().next()?];
    loop {
        let here = walk[walk.len() - 1];
        let next = left[here].iter().find(|target| left.contains_key(*target)).copied()?;
        if let Some(start) = walk.iter().position(|step| *step == next) {
            return Some(walk.split_off(start));
        }
        walk.push(next);
    }
}

impl File {
    fn read(name: String, module: &[String], code: &str, modules: &BTreeSet<Path>) -> File {
        let code = without_comments(code);
        let (mut paths, mut exports, mut aliases) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut rest = String::new();
        for statement in code.split_inclusive([';', '{', '}']) {
            let Some((is_export, tree)) = import(statement) else {
                rest.push_str(statement);
                continue;
            };
            // A tree with braces was split at them: the caller has joined its lines.
            for (path, alias) in leaves(&tree) {
                let path = absolute(&path, module, modules);
                aliases.insert(alias.clone(), path.clone());
                match is_export && path.starts_with(module) {
                    true => exports.push((alias, path)),
                    false => paths.push(path),
                }
            }
        }
        // What a parent only exports for its children is no import; what its own code uses is.
        let words: BTreeSet<&str> = rest.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        paths.extend(
            exports.into_iter().filter(|(name, _)| words.contains(name.as_str())).map(|(_, path)| path),
        );
        paths.extend(inline(&rest).map(|path| absolute(&path, module, modules)));
        // What is not of this crate leads to no file.
        paths.retain(|path| path.first().is_some_and(|first| modules.contains(&vec![first.clone()])));
        aliases.retain(|_, path| path.first().is_some_and(|first| modules.contains(&vec![first.clone()])));
        File { name, paths, aliases }
    }
}

fn module_of(name: &str) -> Path {
    let inside = name.strip_prefix("src/").unwrap_or(name).trim_end_matches(".rs");
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    match inside {
        "lib" => Vec::new(),
        inside => inside.split('/').map(str::to_owned).collect(),
    }
}

/// The code without comments, with each `use` tree on one line and its braces replaced, so that a statement ends at
/// the next `;`.
fn without_comments(code: &str) -> String {
    let mut out = String::new();
    let mut in_use = false;
    for line in code.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        in_use |= is_import(line);
        let line = if in_use { line.replace('{', "<").replace('}', ">") } else { line.to_owned() };
        in_use &= !line.contains(';');
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn is_import(line: &str) -> bool {
    line.starts_with("use ") || (line.starts_with("pub") && line.contains(" use "))
}

/// Whether a statement exports what it imports, and its tree.
fn import(statement: &str) -> Option<(bool, String)> {
    let statement = statement.trim().trim_end_matches(';');
    if !is_import(statement) {
        return None;
    }
    let (visibility, tree) = statement.split_once("use ")?;
    Some((visibility.starts_with("pub"), tree.split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// The paths of a tree `a::<b::C, d as e>`, each with the name that it has here.
fn leaves(tree: &str) -> Vec<(Path, String)> {
    let tree = tree.trim();
    let Some((prefix, group)) = tree.split_once('<') else {
        let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut path: Path = path.split("::").map(|part| part.trim().to_owned()).collect();
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let last = path.last().cloned().unwrap_or_default();
        return vec![(path, if alias.is_empty() { last } else { alias.trim().to_owned() })];
    };
    let group = group.trim().strip_suffix('>').unwrap_or(group);
    let mut depth = 0;
    let members = group.split(|c| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        c == ',' && depth == 0
    });
    let members: Vec<&str> = members.map(str::trim).filter(|member| !member.is_empty()).collect();
    members.into_iter().flat_map(|member| leaves(&format!("{prefix}{member}"))).collect()
}

/// Paths in code that begin with `crate`, `self`, `super`, or with a name in lower case.
fn inline(code: &str) -> impl Iterator<Item = Path> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let pieces = code.split(move |c| !is_part(c)).filter(|piece| piece.contains("::"));
    pieces.map(|piece| piece.split("::").map(str::to_owned).filter(|part| !part.is_empty()).collect::<Path>())
}

/// The path from the crate's root. A first segment that is a child module of this one means that child.
fn absolute(path: &[String], module: &[String], modules: &BTreeSet<Path>) -> Path {
    let mut base = module.to_vec();
    let mut rest = path;
    match path.first().map(String::as_str) {
        Some("crate" | "realchat_gateway") => (base, rest) = (Vec::new(), &path[1..]),
        Some("self") => rest = &path[1..],
        Some("super") => {
            while rest.first().is_some_and(|first| first == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        Some(first) => {
            let child = [module, &[first.to_owned()]].concat();
            if !modules.contains(&child) || module.is_empty() {
                return vec![format!("extern {first}")];
            }
        }
        None => {}
    }
    [base, rest.to_vec()].concat()
}

const DEPTH_MAX: usize = 8;

#[test]
fn a_circle_is_found_through_re_exports_groups_and_paths_in_code() {
    let crate_of = |files: &[(&str, &str)]| {
        Crate::read(files.iter().map(|(name, code)| ((*name).to_owned(), (*code).to_owned())))
    };
    let straight = crate_of(&[
        ("src/a/mod.rs", "mod b;\nmod c;\npub use b::B;\n"),
        ("src/a/b.rs", "pub struct B;\n"),
        ("src/a/c.rs", "use super::B; // crate::d::D\n"),
        ("src/d.rs", "use crate::a::{\n    B,\n    c::{self, C as E},\n};\n"),
    ]);
    let edges = straight.edges();
    assert_eq!(edges["src/d.rs"], BTreeSet::from(["src/a/b.rs", "src/a/c.rs"]));
    assert_eq!(edges["src/a/c.rs"], BTreeSet::from(["src/a/b.rs"]));
    assert!(circles(&edges).is_empty());

    let round = crate_of(&[
        ("src/a/mod.rs", "mod b;\npub struct A;\nfn f() { b::g() }\n"),
        ("src/a/b.rs", "pub fn g(_: super::A) {}\n"),
        ("src/d.rs", "fn h() { crate::a::A }\n"),
    ]);
    assert_eq!(circles(&round.edges()), [vec!["src/a/b.rs", "src/a/mod.rs"]]);

    let used = crate_of(&[
        ("src/a/mod.rs", "mod b;\npub use b::B;\npub struct A(B);\n"),
        ("src/a/b.rs", "pub fn g(_: super::A) {}\n"),
    ]);
    assert_eq!(circles(&used.edges()).len(), 1);
}
