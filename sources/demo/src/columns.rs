//! How CloudFront writes what there is to say about a request.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::Offset;

use crate::random::Random;
use crate::site::{DISTRIBUTION, HOST, Kind, ORIGIN};
use crate::traffic::Request;

/// Writes one field of a request: text without tabs, or `-`.
pub type Column = fn(&Request, &mut String);

/// The field of the real-time log that has this name.
pub fn realtime(name: &str) -> Option<Column> {
    find(REALTIME, name)
}

/// The field of the standard log that has this name. What is the same in both logs has the same name but for the hosts,
/// which change places, and the path, which has no query here.
pub fn standard(name: &str) -> Option<Column> {
    find(STANDARD, name).or_else(|| realtime(name))
}

fn find(columns: &[(&str, Column)], name: &str) -> Option<Column> {
    columns.iter().find(|it| it.0 == name).map(|it| it.1)
}

/// The longest cookie, or list of headers, that CloudFront writes, in bytes. What is longer is cut.
const CUT_BYTES: usize = 800;

/// In CloudFront's order.
const REALTIME: &[(&str, Column)] = &[
    ("timestamp", |it, out| put(out, format_args!("{}.{:03}", it.time_ms / 1000, it.time_ms % 1000))),
    ("c-ip", |it, out| address(it, out)),
    ("s-ip", |it, out| put(out, format_args!("203.0.113.{}", 1 + it.edge.bytes().map(u64::from).sum::<u64>() % 250))),
    ("time-to-first-byte", |it, out| seconds(it.answer.first_byte_ms, out)),
    ("sc-status", |it, out| put(out, format_args!("{:03}", it.answer.status))),
    ("sc-bytes", |it, out| put(out, it.answer.bytes)),
    ("cs-method", |it, out| out.push_str(it.method)),
    ("cs-protocol", |it, out| out.push_str(if it.secure { "https" } else { "http" })),
    ("cs-host", |_, out| out.push_str(HOST)),
    ("cs-uri-stem", |it, out| {
        out.push_str(&it.path);
        if !it.query.is_empty() {
            out.push('?');
            out.push_str(&it.query);
        }
    }),
    ("cs-bytes", |it, out| {
        let headers: usize = it.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        put(out, (it.path.len() + it.query.len() + headers) as u64 + 20 + it.body_bytes_in);
    }),
    ("x-edge-location", |it, out| out.push_str(it.edge)),
    ("x-edge-request-id", |it, out| id(it.noise, out)),
    ("x-host-header", |_, out| out.push_str(DISTRIBUTION)),
    ("time-taken", |it, out| seconds(it.answer.taken_ms, out)),
    ("cs-protocol-version", |it, out| out.push_str(if it.secure { it.visitor.version } else { "HTTP/1.1" })),
    ("c-ip-version", |it, out| out.push_str(if it.visitor.v6 { "IPv6" } else { "IPv4" })),
    ("cs-user-agent", |it, out| out.push_str(it.visitor.browser.user_agent)),
    ("cs-referer", |it, out| out.push_str(it.referrer.unwrap_or("-"))),
    ("cs-cookie", |it, out| out.push_str(cut(it.cookie.as_deref().unwrap_or("-")))),
    ("cs-uri-query", |it, out| out.push_str(if it.query.is_empty() { "-" } else { &it.query })),
    ("x-edge-response-result-type", |it, out| out.push_str(it.answer.result)),
    ("x-forwarded-for", |it, out| match it.proxied {
        true => put(
            out,
            format_args!("10.0.{}.{},%20198.51.100.{}", it.noise % 8, it.noise >> 8 & 0xff, it.noise >> 16 & 0x3f),
        ),
        false => out.push('-'),
    }),
    ("ssl-protocol", |it, out| out.push_str(if it.secure { it.visitor.tls } else { "-" })),
    ("ssl-cipher", |it, out| {
        out.push_str(match (it.secure, it.visitor.tls) {
            (false, _) => "-",
            (true, "TLSv1.3") => "TLS_AES_128_GCM_SHA256",
            (true, _) => "ECDHE-RSA-AES128-GCM-SHA256",
        });
    }),
    ("x-edge-result-type", |it, out| out.push_str(it.answer.result)),
    ("fle-encrypted-fields", |_, out| out.push('-')),
    ("fle-status", |_, out| out.push('-')),
    ("sc-content-type", |it, out| out.push_str(it.answer.content_type.unwrap_or("-"))),
    ("sc-content-len", |it, out| optional(it.answer.content_length, out)),
    ("sc-range-start", |it, out| optional(it.range_sent().map(|it| it.0), out)),
    ("sc-range-end", |it, out| optional(it.range_sent().map(|it| it.1), out)),
    ("c-port", |it, out| put(out, it.port)),
    ("x-edge-detailed-result-type", |it, out| out.push_str(it.answer.detailed)),
    ("c-country", |it, out| out.push_str(it.visitor.place.country)),
    ("cs-accept-encoding", |it, out| out.push_str(it.visitor.browser.accept_encoding)),
    ("cs-accept", |it, out| out.push_str(it.part.accept)),
    ("cache-behavior-path-pattern", |it, out| out.push_str(it.part.pattern)),
    ("cs-headers", |it, out| {
        let end = out.len() + CUT_BYTES;
        for (name, value) in &it.headers {
            out.extend([name, ":", value, "%0A"]);
        }
        out.truncate(end);
    }),
    ("cs-header-names", |it, out| {
        let end = out.len() + CUT_BYTES;
        for (name, _) in &it.headers {
            out.extend([name, "%0A"]);
        }
        out.truncate(end);
    }),
    ("cs-headers-count", |it, out| put(out, it.headers.len())),
    ("primary-distribution-id", |it, out| out.push_str(if it.visitor.staged { "EDFDVBD6EXAMPLE" } else { "-" })),
    ("primary-distribution-dns-name", |it, out| out.push_str(if it.visitor.staged { DISTRIBUTION } else { "-" })),
    ("origin-fbl", |it, out| optional_seconds(it.answer.origin_ms.map(|it| it.0), out)),
    ("origin-lbl", |it, out| optional_seconds(it.answer.origin_ms.map(|it| it.1), out)),
    ("asn", |it, out| put(out, it.visitor.asn)),
    ("cmcd-encoded-bitrate", |it, out| {
        of_video(it, out, |noise, out| put(out, [1200, 2800, 4500, 8000][noise as usize % 4]))
    }),
    ("cmcd-buffer-length", |it, out| of_video(it, out, |noise, out| put(out, noise % 300 * 100))),
    ("cmcd-buffer-starvation", |it, out| {
        of_video(it, out, |noise, out| out.push_str(if noise.is_multiple_of(40) { "1" } else { "-" }))
    }),
    ("cmcd-content-id", |it, out| match it.part.kind {
        Kind::Video => out.push_str(it.path.trim_start_matches("/video/").trim_end_matches("/1080p.mp4")),
        _ => out.push('-'),
    }),
    ("cmcd-object-duration", |it, out| of_video(it, out, |_, out| out.push_str("4004"))),
    ("cmcd-deadline", |it, out| of_video(it, out, |noise, out| put(out, 200 + noise % 250 * 100))),
    ("cmcd-measured-throughput", |it, out| of_video(it, out, |noise, out| put(out, 900 + noise % 320 * 100))),
    ("cmcd-next-object-request", |_, out| out.push('-')),
    ("cmcd-next-range-request", |it, out| match it.range_sent() {
        Some((_, end)) => put(out, format_args!("{}-{}", end + 1, end + (1 << 20))),
        None => out.push('-'),
    }),
    ("cmcd-object-type", |it, out| of_video(it, out, |_, out| out.push_str("av"))),
    ("cmcd-playback-rate", |it, out| of_video(it, out, |_, out| out.push('1'))),
    ("cmcd-requested-maximum-throughput", |it, out| of_video(it, out, |noise, out| put(out, 5000 + noise % 8 * 2500))),
    ("cmcd-streaming-format", |it, out| of_video(it, out, |_, out| out.push('o'))),
    ("cmcd-session-id", |it, out| match it.part.kind {
        Kind::Video => uuid(it.visitor.address, out),
        _ => out.push('-'),
    }),
    ("cmcd-stream-type", |it, out| of_video(it, out, |_, out| out.push('v'))),
    ("cmcd-startup", |it, out| {
        of_video(it, out, |noise, out| out.push_str(if noise.is_multiple_of(12) { "1" } else { "-" }))
    }),
    ("cmcd-top-bitrate", |it, out| of_video(it, out, |_, out| out.push_str("8000"))),
    ("cmcd-version", |it, out| of_video(it, out, |_, out| out.push('1'))),
    ("r-host", |it, out| out.push_str(if it.answer.origin_ms.is_some() { ORIGIN } else { "-" })),
    ("sr-reason", |_, out| out.push('-')),
    ("x-edge-mqcs", |_, out| out.push('-')),
    ("distribution-tenant-id", |_, out| out.push('-')),
    ("connection-id", |_, out| out.push('-')),
];

/// What has another name or value in the standard log.
const STANDARD: &[(&str, Column)] = &[
    ("date", |it, out| put(out, moment(it).strftime("%Y-%m-%d"))),
    ("time", |it, out| put(out, moment(it).strftime("%H:%M:%S"))),
    ("cs(Host)", |_, out| out.push_str(DISTRIBUTION)),
    ("x-host-header", |_, out| out.push_str(HOST)),
    ("cs-uri-stem", |it, out| out.push_str(&it.path)),
    ("cs(Referer)", |it, out| out.push_str(it.referrer.unwrap_or("-"))),
    ("cs(User-Agent)", |it, out| out.push_str(it.visitor.browser.user_agent)),
    ("cs(Cookie)", |it, out| out.push_str(cut(it.cookie.as_deref().unwrap_or("-")))),
];

impl Request {
    fn range_sent(&self) -> Option<(u64, u64)> {
        self.range.filter(|_| self.answer.status == 206)
    }
}

fn put(out: &mut String, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("text takes any text");
}

fn seconds(ms: u64, out: &mut String) {
    put(out, format_args!("{}.{:03}", ms / 1000, ms % 1000));
}

fn optional(value: Option<u64>, out: &mut String) {
    match value {
        Some(value) => put(out, value),
        None => out.push('-'),
    }
}

fn optional_seconds(ms: Option<u64>, out: &mut String) {
    match ms {
        Some(ms) => seconds(ms, out),
        None => out.push('-'),
    }
}

fn of_video(request: &Request, out: &mut String, column: fn(u64, &mut String)) {
    match request.part.kind {
        Kind::Video => column(request.noise, out),
        _ => out.push('-'),
    }
}

/// Addresses of the ranges for benchmarks (RFC 2544) and for documentation (RFC 3849): of nobody.
fn address(request: &Request, out: &mut String) {
    let bits = request.visitor.address;
    match request.visitor.v6 {
        false => {
            put(out, format_args!("198.{}.{}.{}", 18 + (bits & 1), bits >> 8 & 0xff, 1 + (bits >> 16 & 0xff) % 254))
        }
        true => {
            let [a, b, c, d] = [bits >> 48, bits >> 32 & 0xffff, bits >> 16 & 0xffff, bits & 0xffff];
            put(out, format_args!("2001:db8:{a:x}:{b:x}::{c:x}:{d:x}"));
        }
    }
}

/// 40 bytes in the alphabet of base64 for URLs, as CloudFront's ids look.
fn id(noise: u64, out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = Random::new(&[noise]);
    for _ in 0..6 {
        let bits = random.next();
        out.extend((0..9).map(|nth| ALPHABET[(bits >> (6 * nth) & 63) as usize] as char));
    }
    out.push_str("==");
}

fn uuid(bits: u64, out: &mut String) {
    let low = bits.rotate_left(23);
    put(
        out,
        format_args!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            bits >> 32,
            bits >> 16 & 0xffff,
            bits & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        ),
    );
}

fn cut(text: &str) -> &str {
    &text[..text.len().min(CUT_BYTES)]
}

fn moment(request: &Request) -> jiff::Zoned {
    let moment = Timestamp::from_millisecond(request.time_ms).expect("a moment in the life of the site");
    moment.to_zoned(Offset::UTC.to_time_zone())
}
