//! AWS services: region, endpoint, credentials, and what their errors mean.
//!
//! - [`Aws`]: the table `aws = { … }` of a component, and the clients that are made of it.
//! - [`Trouble`]: what a component does next when a call has failed. The only table of AWS errors is here.
//! - [`Reason`]: what an error is about, for those who can do more about it than wait.
//! - [`within()`]: a call that takes no longer than it may.
//! - [`Location`]: a `path`, which is a directory or a place in a bucket.
//! - [`Patience`], [`backoff()`]: how long to wait before the next try, and what to say meanwhile.

mod backoff;
mod client;
mod codes;
mod digest;
mod location;
mod patience;
mod story;
#[cfg(test)]
mod tests;
mod trouble;
mod within;

use forebay_api::{Secret, Wrong};
use schemars::JsonSchema;
use serde::Deserialize;

pub use backoff::backoff;
pub use codes::Reason;
pub use location::Location;
pub use patience::Patience;
pub use trouble::{Trouble, broken, failed, trouble};
pub use within::within;

/// Which account, region and server, and with whose rights.
///
/// On AWS nothing need be said: region and credentials are found where all AWS programs look for them, in this order:
/// the variables `AWS_REGION`, `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; the profile in `~/.aws`, with roles,
/// IAM Identity Center and credential processes; a web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`, as in Kubernetes); the
/// role of the ECS task or EKS pod; the role of the EC2 instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// The region, for example `"eu-central-1"`. Default: that of the environment, of the profile or of the instance;
    /// `us-east-1` if an `endpoint` is given and none is found.
    pub region: Option<String>,
    /// The URL of another server than that of AWS: an S3-compatible one, or an interface endpoint of a private
    /// network. Example: `"http://127.0.0.1:9000"`. Default: AWS, or what `AWS_ENDPOINT_URL` says. A server that refuses
    /// the checksums that AWS has wanted since 2025 needs the variable
    /// `AWS_REQUEST_CHECKSUM_CALCULATION=when_required`. A certificate of one's own must be trusted by the system, or be
    /// in the file that the variable `SSL_CERT_FILE` names.
    pub endpoint: Option<String>,
    /// Whether a bucket stands in the path of an address (`host/bucket/key`), not in the name of the host
    /// (`bucket.host/key`). Default: `true` if an `endpoint` is given, else `false`.
    pub path_style: Option<bool>,
    /// The profile in `~/.aws/config` and `~/.aws/credentials`, for example `"analytics"`. Default: what `AWS_PROFILE`
    /// says, else `default`.
    pub profile: Option<String>,
    /// The ARN of a role to take on with the credentials found, for example
    /// `"arn:aws:iam::123456789012:role/forebay"`. Default: none.
    pub role: Option<String>,
    /// The external ID that another account wants for its `role`. Default: none.
    pub external_id: Option<String>,
    /// The name under which CloudTrail shows what was done with `role`: 2 to 64 of `A-Z a-z 0-9 _ = , . @ -`.
    /// Default: `"forebay"`.
    pub session_name: Option<String>,
    /// The access key of an S3-compatible server, together with `secret_access_key`. Example: `{ env = "S3_ACCESS_KEY" }`.
    /// Default: what is found as described above.
    pub access_key_id: Option<Secret>,
    /// The secret that belongs to `access_key_id`. Example: `{ env = "S3_SECRET_KEY" }`.
    pub secret_access_key: Option<Secret>,
    /// The token that belongs to an `access_key_id` that is valid for some hours only. Such keys are not renewed.
    pub session_token: Option<Secret>,
}

impl Aws {
    /// Says what cannot work, whatever the world is like. The keys are those of a component that calls the table `aws`.
    pub fn check(&self) -> Result<(), Wrong> {
        let given = |field: &str, value: &Option<String>| match value {
            Some(value) if value.trim().is_empty() => Err(Wrong::new(at(field), format!("`{field}` is empty"))),
            _ => Ok(()),
        };
        given("region", &self.region)?;
        given("profile", &self.profile)?;
        given("external_id", &self.external_id)?;
        if let Some(region) = &self.region
            && !region.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
        {
            return Err(Wrong::new(at("region"), format!("`{region}` is not a region"))
                .hint("write the region as AWS does, such as \"eu-central-1\""));
        }
        if let Some(endpoint) = &self.endpoint {
            check_endpoint(endpoint).map_err(|why| {
                Wrong::new(at("endpoint"), format!("`endpoint` is not the URL of a server: {why}"))
                    .hint("write scheme, host and port, such as \"http://127.0.0.1:9000\"")
            })?;
        }
        self.check_role()?;
        self.check_keys()
    }

    fn check_role(&self) -> Result<(), Wrong> {
        const EXAMPLE: &str = "write an ARN such as \"arn:aws:iam::123456789012:role/forebay\"";
        match &self.role {
            None => {
                let idle = [("external_id", &self.external_id), ("session_name", &self.session_name)];
                if let Some((field, _)) = idle.iter().find(|it| it.1.is_some()) {
                    return Err(Wrong::new(at(field), format!("`{field}` means nothing without `role`")).hint(EXAMPLE));
                }
            }
            Some(role) => {
                // `arn:partition:iam::account:role/name`
                let parts: Vec<&str> = role.splitn(6, ':').collect();
                let is_role = matches!(parts[..], ["arn", _, "iam", "", account, name]
                    if account.bytes().all(|it| it.is_ascii_digit()) && name.strip_prefix("role/").is_some_and(|it| !it.is_empty()));
                if !is_role {
                    return Err(Wrong::new(at("role"), format!("`{role}` is not the ARN of a role")).hint(EXAMPLE));
                }
            }
        }
        // The characters that STS takes: its API reference, AssumeRole, RoleSessionName.
        let fits = |it: u8| it.is_ascii_alphanumeric() || b"_=,.@-".contains(&it);
        match &self.session_name {
            Some(name) if !(2..=64).contains(&name.len()) || !name.bytes().all(fits) => {
                Err(Wrong::new(at("session_name"), format!("`{name}` cannot be the name of a session"))
                    .hint("write 2 to 64 of the characters A-Z a-z 0-9 _ = , . @ -"))
            }
            _ => Ok(()),
        }
    }

    fn check_keys(&self) -> Result<(), Wrong> {
        let keys = [
            ("access_key_id", &self.access_key_id),
            ("secret_access_key", &self.secret_access_key),
            ("session_token", &self.session_token),
        ];
        if let Some((field, _)) = keys.iter().find(|it| it.1.as_ref().is_some_and(|it| it.reveal().trim().is_empty())) {
            return Err(Wrong::new(at(field), format!("`{field}` is empty")));
        }
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(_), Some(_)) if self.profile.is_some() => {
                Err(Wrong::new(at("profile"), "`profile` and `access_key_id` both say whose rights are used")
                    .hint("keep one of them"))
            }
            (Some(_), Some(_)) => Ok(()),
            (Some(_), None) => Err(half(at("access_key_id"), "access_key_id", "secret_access_key")),
            (None, Some(_)) => Err(half(at("secret_access_key"), "secret_access_key", "access_key_id")),
            (None, None) if self.session_token.is_some() => {
                Err(half(at("session_token"), "session_token", "access_key_id"))
            }
            (None, None) => Ok(()),
        }
    }
}

/// The key of a field, as the component's table has it.
fn at(field: &str) -> String {
    format!("aws.{field}")
}

/// One of two keys that belong together is missing.
fn half(key: String, given: &str, missing: &str) -> Wrong {
    Wrong::new(key, format!("`{given}` needs `{missing}`")).hint(
        "give both, or none: then the credentials are found in the environment, the profile or the instance's role",
    )
}

/// Whether a text is the address of a server: `scheme://host[:port]`, and a path if the server lies under one.
fn check_endpoint(endpoint: &str) -> Result<(), String> {
    let uri: http::Uri = endpoint.parse().map_err(|error| format!("{error}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(scheme) => return Err(format!("`{scheme}` is neither `http` nor `https`")),
        None => return Err("it has no `http://` or `https://`".into()),
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => Err("it must hold no user name and no password".into()),
        Some(_) if uri.query().is_some() => Err("it must hold no `?`".into()),
        Some(_) => Ok(()),
        None => Err("it names no host".into()),
    }
}
