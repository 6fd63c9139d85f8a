//! Finds two components that would use the same port or directory.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use forebay_api::Resource;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::node::{Node, NodeConfig};
use crate::problem::Problem;

/// Who uses a resource, and where the file says so.
struct Claim {
    resource: Resource,
    by: String,
    place: Range<usize>,
}

/// Reports every resource that is used twice. `outer` are those that no node uses.
pub(crate) fn find_shared(
    nodes: &[Node<'_>],
    outer: Vec<(&'static str, Spanned<Resource>)>,
    problems: &mut Vec<Problem>,
) {
    let mut claims: Vec<Claim> = Vec::new();
    for (key, resource) in outer {
        let place = resource.span();
        claims.push(Claim { resource: normal(resource.into_inner()), by: format!("`{key}`"), place });
    }
    // The path of a stand-in is nobody's path.
    for node in nodes.iter().filter(|it| it.certain) {
        let resources = match &node.config {
            Some(NodeConfig::Source(source)) => source.resources(),
            Some(NodeConfig::Sink(sink)) => sink.resources(),
            Some(NodeConfig::Transform(_)) | None => Vec::new(),
        };
        for resource in resources {
            let resource = normal(resource);
            let place = place(&node.own, &resource).unwrap_or_else(|| node.place());
            claims.push(Claim { resource, by: format!("{} `{}`", node.kind, node.name.get_ref()), place });
        }
    }
    find_beyond_this_process(nodes, &claims, problems);
    claims.sort_by_key(|it| it.place.start);
    for (index, claim) in claims.iter().enumerate() {
        if let Some(earlier) = claims[..index].iter().find(|it| overlap(&it.resource, &claim.resource)) {
            let title = format!("{} is used by {} already", quoted(&claim.resource), earlier.by);
            problems.push(Problem::new(claim.place.clone(), title).help(format!("give {} another one", claim.by)));
        }
    }
}

/// Whether two components cannot use both at the same time.
fn overlap(one: &Resource, other: &Resource) -> bool {
    match (one, other) {
        // The operating system gives each that asks for port 0 another one.
        (Resource::Port(one), Resource::Port(other)) => {
            one.port() == other.port() && one.port() != 0 && meet(one, other)
        }
        _ => one == other,
    }
}

/// Whether there is an address that both listen on. `[::]` is all of IPv4 too, as it is on Linux by default.
fn meet(one: &SocketAddr, other: &SocketAddr) -> bool {
    let (one, other) = (one.ip().to_canonical(), other.ip().to_canonical());
    let holds = |all: IpAddr, it: IpAddr| all.is_unspecified() && (all.is_ipv6() || it.is_ipv4());
    one == other || holds(one, other) || holds(other, one)
}

/// Reports directories of sinks and of dead letters if several processes share the partitions of a source: what one of
/// them has begun to write, another one finishes, and on another disk it would be there twice.
fn find_beyond_this_process(nodes: &[Node<'_>], claims: &[Claim], problems: &mut Vec<Problem>) {
    let shares = |it: &&Node<'_>| matches!(&it.config, Some(NodeConfig::Source(source)) if source.is_shared());
    let Some(source) = nodes.iter().filter(|it| it.certain).find(shares) else { return };
    // A bucket is a place for many.
    let is_local = |it: &Resource| matches!(it, Resource::Directory(path) if !path.starts_with("s3:"));
    let is_written = |it: &&Claim| it.by.starts_with("sink ") || it.by == "`dead_letters`";
    for claim in claims.iter().filter(|it| is_local(&it.resource)).filter(is_written) {
        let title = format!(
            "{} is for one process, and several share source `{}`",
            quoted(&claim.resource),
            source.name.get_ref()
        );
        problems.push(Problem::new(claim.place.clone(), title).help("write to a bucket: `s3://bucket/prefix`"));
    }
}

fn quoted(resource: &Resource) -> String {
    match resource {
        Resource::Port(port) => format!("port `{port}`"),
        Resource::Directory(path) => format!("directory `{}`", path.display()),
    }
}

/// The same resource in the form in which equal ones are equal.
fn normal(resource: Resource) -> Resource {
    match resource {
        Resource::Directory(path) => Resource::Directory(normal_path(&path)),
        port => port,
    }
}

/// The path without `.` and `..`, as far as that can be said without looking at the disk.
fn normal_path(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        let goes_up = component == Component::ParentDir;
        let can_go_up = matches!(normal.components().next_back(), Some(Component::Normal(_)));
        match component {
            Component::CurDir => {}
            _ if goes_up && can_go_up => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// The value in the component's own keys that names a resource.
fn place(table: &DeTable<'_>, resource: &Resource) -> Option<Range<usize>> {
    table.values().find_map(|it| place_in(it, resource))
}

fn place_in(value: &Spanned<DeValue<'_>>, resource: &Resource) -> Option<Range<usize>> {
    match value.get_ref() {
        DeValue::String(text) => {
            let names = match resource {
                Resource::Port(port) => text.parse() == Ok(*port),
                Resource::Directory(path) => normal_path(Path::new(text.as_ref())) == *path,
            };
            names.then(|| value.span())
        }
        DeValue::Table(table) => place(table, resource),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use forebay_api::Resource;

    use super::{normal_path, overlap};

    /// Scenario: addresses to listen on, two by two, in both orders.
    /// Guarantees: those that the operating system would not give to two are found, and no others.
    #[test]
    fn ports() {
        for (one, other, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::]:80", "[::1]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "[::1]:80", false),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("0.0.0.0:0", "0.0.0.0:0", false),
        ] {
            let port = |it: &str| Resource::Port(it.parse().unwrap());
            assert_eq!(overlap(&port(one), &port(other)), expected, "{one} {other}");
            assert_eq!(overlap(&port(other), &port(one)), expected, "{other} {one}");
        }
    }

    /// Scenario: paths with `.` and `..` in several places.
    /// Guarantees: what names the same directory is the same path; what goes above the start is kept.
    #[test]
    fn paths() {
        for (path, normal) in [
            ("./a/../b/", "b"),
            ("a/./b", "a/b"),
            ("../a", "../a"),
            ("../../a", "../../a"),
            ("/../a", "/../a"),
            (".", ""),
        ] {
            assert_eq!(normal_path(Path::new(path)), Path::new(normal), "{path}");
        }
    }
}
