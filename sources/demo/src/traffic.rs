//! Requests to the imaginary site, each of them a pure function of seed, partition and row.

use crate::random::Random;
use std::borrow::Cow;

use crate::site::{BROWSERS, Browser, HOST, Kind, PARTS, PLACES, PROBES, Part, Place, REFERRERS, SEARCHES};

/// How many visitors there are. Few of them ask for much.
const VISITORS: u64 = 6000;

/// Marks the random numbers of a visitor, and those of a file, apart from those of a row.
const OF_A_VISITOR: u64 = u64::MAX;
const OF_A_FILE: u64 = u64::MAX - 1;

const API_METHODS: &[(u32, &str)] = &[(60, "GET"), (33, "POST"), (4, "DELETE"), (3, "OPTIONS")];

/// Milliseconds that an answer of the origin may take until the edge gives up.
const ORIGIN_TIMEOUT_MS: u64 = 30_000;

/// All requests of a site.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Another seed makes other requests.
    pub seed: u64,
    /// When the first request came, in milliseconds since 1970.
    pub start_ms: i64,
    /// Milliseconds between two requests, on average.
    pub spacing_ms: u64,
}

/// One request, and what became of it.
pub struct Request {
    pub(crate) time_ms: i64,
    pub(crate) visitor: Visitor,
    pub(crate) part: &'static Part,
    pub(crate) port: u64,
    pub(crate) edge: &'static str,
    /// For what must look like chance, and is asked for by few: ids and the like.
    pub(crate) noise: u64,
    pub(crate) method: &'static str,
    pub(crate) secure: bool,
    pub(crate) path: String,
    /// Without the `?`; empty if there is none.
    pub(crate) query: String,
    pub(crate) referrer: Option<&'static str>,
    pub(crate) body_bytes_in: u64,
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) conditional: bool,
    pub(crate) proxied: bool,
    pub(crate) cookie: Option<String>,
    /// What the viewer sent: names and values, percent-encoded.
    pub(crate) headers: Vec<(&'static str, Cow<'static, str>)>,
    pub(crate) answer: Answer,
}

/// Somebody, and what does not change about them.
pub(crate) struct Visitor {
    pub id: u64,
    pub place: &'static Place,
    pub browser: &'static Browser,
    pub asn: u32,
    pub home_edge: &'static str,
    pub address: u64,
    pub v6: bool,
    pub version: &'static str,
    pub tls: &'static str,
    pub bytes_per_ms: u64,
    /// Takes part in the trial of a new configuration.
    pub staged: bool,
}

/// What the edge answered.
pub(crate) struct Answer {
    /// `0`: the viewer went away before.
    pub status: u16,
    pub result: &'static str,
    pub detailed: &'static str,
    pub content_type: Option<&'static str>,
    pub content_length: Option<u64>,
    /// With headers.
    pub bytes: u64,
    pub first_byte_ms: u64,
    pub taken_ms: u64,
    /// First and last byte of the origin's answer, if the origin was asked and answered.
    pub origin_ms: Option<(u64, u64)>,
}

impl Traffic {
    /// The `row`th request of a partition, counted from 1.
    pub fn request(&self, partition: u32, row: u64) -> Request {
        let mut random = Random::new(&[self.seed, u64::from(partition), row]);
        let visitor = Visitor::new(self.seed, random.mostly_low(0, VISITORS - 1));
        let part = random.weighed(PARTS);
        let edge = if random.per_mille(900) { visitor.home_edge } else { *random.pick(visitor.place.edges) };
        let name = random.mostly_low(0, part.names - 1);
        let secure = part.kind != Kind::Page || !random.per_mille(60);
        let mut request = Request {
            time_ms: self.time_ms(row, &mut random),
            port: random.between(1024, 65_535),
            noise: random.next(),
            edge,
            method: method(part.kind, &visitor, &mut random),
            secure,
            path: path(part, name, self.seed),
            query: query(part.kind, &mut random),
            referrer: None,
            body_bytes_in: 0,
            range: None,
            conditional: false,
            proxied: random.per_mille(25),
            cookie: cookie(part.kind, &visitor),
            headers: Vec::new(),
            answer: Answer::nothing(),
            part,
            visitor,
        };
        if !request.visitor.browser.robot && !random.per_mille(180) {
            request.referrer = Some(*random.weighed(REFERRERS));
        }
        if request.method == "POST" {
            request.body_bytes_in = random.between(40, 900);
        }
        let bytes = Random::new(&[self.seed, OF_A_FILE, part.bytes.1, name]).mostly_low(part.bytes.0, part.bytes.1);
        if part.kind == Kind::Video {
            let first = random.below(8) << 20;
            request.range = Some((first, first + bytes.min(1 << 20) - 1));
        }
        let cacheable = matches!(part.kind, Kind::Page | Kind::Asset | Kind::Image);
        request.conditional = cacheable && !request.visitor.browser.robot && random.per_mille(70);
        request.answer = answer(&request, bytes, &mut random);
        request.headers = request.list_headers();
        request
    }

    /// Requests come in nearly the order in which they are logged; one in a hundred is late.
    fn time_ms(&self, row: u64, random: &mut Random) -> i64 {
        let due = self.start_ms + ((row - 1) * self.spacing_ms) as i64;
        let late = if random.per_mille(10) { random.mostly_low(0, 2000) } else { 0 };
        (due + random.below(4 * self.spacing_ms + 1) as i64 - late as i64).max(self.start_ms)
    }
}

impl Request {
    /// What the viewer sent, names and values, percent-encoded.
    fn list_headers(&self) -> Vec<(&'static str, Cow<'static, str>)> {
        let browser = self.visitor.browser;
        let mut headers = vec![
            ("Host", Cow::from(HOST)),
            ("User-Agent", browser.user_agent.into()),
            ("Accept", self.part.accept.into()),
        ];
        let mut add = |name, value: Cow<'static, str>| headers.push((name, value));
        if browser.accept_encoding != "-" {
            add("Accept-Encoding", browser.accept_encoding.into());
        }
        if !browser.robot {
            add("Accept-Language", format!("{},en;q=0.7", self.visitor.place.language).into());
        }
        if browser.hints {
            let brands = "%22Chromium%22;v=%22142%22,%20%22Not_A%20Brand%22;v=%2299%22";
            add("sec-ch-ua", brands.into());
            add("sec-ch-ua-mobile", if browser.user_agent.contains("Mobile") { "?1" } else { "?0" }.into());
        }
        if let Some(referrer) = self.referrer {
            add("Referer", referrer.into());
        }
        if let Some(cookie) = self.cookie.clone() {
            add("Cookie", cookie.into());
        }
        if let Some((start, end)) = self.range {
            add("Range", format!("bytes={start}-{end}").into());
        }
        if self.conditional {
            add("If-None-Match", format!("%22{:08x}%22", self.visitor.id * 7919).into());
        }
        if self.body_bytes_in > 0 {
            add("Content-Type", "application/json".into());
            add("Content-Length", self.body_bytes_in.to_string().into());
        }
        headers
    }
}

impl Visitor {
    fn new(seed: u64, id: u64) -> Self {
        let mut random = Random::new(&[seed, OF_A_VISITOR, id]);
        let place = random.weighed(PLACES);
        let browser = random.weighed(BROWSERS);
        let version = match browser.robot {
            true => "HTTP/1.1",
            false => *random.weighed(&[(64, "HTTP/2.0"), (30, "HTTP/3.0"), (6, "HTTP/1.1")]),
        };
        // HTTP/3 has no older one.
        let new_tls = version == "HTTP/3.0" || random.per_mille(940);
        Self {
            id,
            place,
            browser,
            asn: *random.pick(place.asns),
            home_edge: *random.pick(place.edges),
            address: random.next(),
            v6: random.per_mille(380),
            version,
            tls: if new_tls { "TLSv1.3" } else { "TLSv1.2" },
            bytes_per_ms: random.mostly_low(400, 12_000),
            staged: random.per_mille(30),
        }
    }
}

fn method(kind: Kind, visitor: &Visitor, random: &mut Random) -> &'static str {
    match kind {
        Kind::Api => random.weighed::<&str>(API_METHODS),
        Kind::Page if visitor.browser.robot && random.per_mille(60) => "HEAD",
        _ => "GET",
    }
}

fn cookie(kind: Kind, visitor: &Visitor) -> Option<String> {
    let known = !visitor.browser.robot && !matches!(kind, Kind::Asset | Kind::Probe);
    known.then(|| format!("session={:012x};%20consent=all", visitor.address >> 16))
}

fn path(part: &Part, name: u64, seed: u64) -> String {
    match part.kind {
        Kind::Probe => part.path.replace("{}", PROBES[name as usize % PROBES.len()]),
        // The name of an asset has a hash of what is in it.
        Kind::Asset => {
            let hash = Random::new(&[seed, OF_A_FILE, name]).next() >> 32;
            part.path.replace("{}", &format!("{hash:08x}"))
        }
        _ => part.path.replace("{}", &(name + 1).to_string()),
    }
}

fn query(kind: Kind, random: &mut Random) -> String {
    match kind {
        Kind::Search => format!("q={}&page={}", random.pick(SEARCHES), random.mostly_low(1, 9)),
        Kind::Pixel => format!(
            "e=pv&url=https%253A%252F%252Fwww.example.com%252Fproducts%252F{}&res={}&t={}",
            random.mostly_low(1, 900),
            random.pick(&["1920x1080", "390x844", "2560x1440", "412x915"]),
            random.mostly_low(80, 9000),
        ),
        Kind::Page if random.per_mille(80) => "utm_source=newsletter&utm_campaign=autumn%2520sale".into(),
        _ => String::new(),
    }
}

impl Answer {
    fn nothing() -> Self {
        Self {
            status: 0,
            result: "Error",
            detailed: "ClientCommError",
            content_type: None,
            content_length: None,
            bytes: 0,
            first_byte_ms: 0,
            taken_ms: 0,
            origin_ms: None,
        }
    }
}

/// What happens, before sizes and times.
#[derive(Clone, Copy)]
struct Outcome {
    status: u16,
    result: &'static str,
    detailed: &'static str,
    /// The origin was asked.
    asked: bool,
}

const fn outcome(status: u16, result: &'static str, detailed: &'static str, asked: bool) -> Outcome {
    Outcome { status, result, detailed, asked }
}

fn decide(request: &Request, random: &mut Random) -> Outcome {
    let part = request.part;
    let dynamic = matches!(part.kind, Kind::Api | Kind::Search);
    if !request.secure {
        return outcome(301, "Redirect", "Redirect", false);
    }
    if random.per_mille(2) {
        return *random.pick(&[
            outcome(0, "Error", "ClientCommError", false),
            outcome(0, "Error", "AbortedOrigin", true),
            outcome(0, "Error", "ClientHungUpRequest", false),
        ]);
    }
    if part.kind == Kind::Probe {
        return *random.weighed(&[
            (80, outcome(404, "Error", "Error", true)),
            (15, outcome(403, "Error", "Error", true)),
            (5, outcome(403, "Error", "InvalidRequestBlocked", false)),
        ]);
    }
    if random.per_mille(if dynamic { 14 } else { 1 }) {
        return *random.weighed(&[
            (6, outcome(500, "Error", "Error", true)),
            (4, outcome(502, "Error", "OriginConnectError", true)),
            (2, outcome(502, "Error", "OriginCommError", true)),
            (3, outcome(503, "LimitExceeded", "LimitExceeded", false)),
            (1, outcome(503, "CapacityExceeded", "CapacityExceeded", false)),
            (3, outcome(504, "Error", "OriginCommError", true)),
        ]);
    }
    if random.per_mille(1) {
        return outcome(403, "Error", "ClientGeoBlocked", false);
    }
    if matches!(part.kind, Kind::Page | Kind::Image) && random.per_mille(9) {
        return outcome(404, "Error", "Error", true);
    }
    let good = match (request.range, request.conditional) {
        (Some(_), _) => 206,
        (None, true) => 304,
        (None, false) => 200,
    };
    if matches!(request.method, "POST" | "DELETE" | "OPTIONS") {
        let status = if random.per_mille(500) { 200 } else { 204 };
        return outcome(status, "Miss", "Miss", true);
    }
    if random.per_mille(part.hits_per_mille) {
        return match random.per_mille(25) {
            true => outcome(good, "RefreshHit", "RefreshHit", true),
            false => outcome(good, "Hit", "Hit", false),
        };
    }
    match !dynamic && random.per_mille(200) {
        true => outcome(good, "Hit", "OriginShieldHit", false),
        false => outcome(good, "Miss", "Miss", true),
    }
}

fn answer(request: &Request, bytes: u64, random: &mut Random) -> Answer {
    let Outcome { status, result, detailed, asked } = decide(request, random);
    let edge_ms = request.visitor.place.distance_ms / 2 + random.mostly_low(0, 14);
    let origin_first_ms = match (status, detailed) {
        (504, _) => ORIGIN_TIMEOUT_MS,
        (_, "RefreshHit") => random.mostly_low(15, 120),
        (_, "OriginConnectError") => random.mostly_low(3, 3000),
        _ => random.mostly_low(22, 900),
    };
    let shield_ms = if detailed == "OriginShieldHit" { random.mostly_low(12, 90) } else { 0 };
    let answered = asked && !matches!(status, 0 | 502 | 504);
    let origin_ms = answered.then(|| (origin_first_ms, origin_first_ms + random.mostly_low(0, 40)));
    let first_byte_ms = edge_ms + shield_ms + if asked { origin_first_ms } else { 0 };

    let (content_type, body, told) = match status {
        0 | 204 | 304 => (None, 0, false),
        301 => (Some("text/html"), 167, true),
        206 => (Some(request.part.content_type), request.range.map_or(0, |it| it.1 - it.0 + 1), true),
        200 => {
            // What is made anew for each request is compressed on the way, and its length is not known before.
            let static_file = matches!(request.part.kind, Kind::Asset | Kind::Image | Kind::Pixel);
            (Some(request.part.content_type), bytes, static_file)
        }
        502..=504 => (Some("text/html"), random.between(918, 1033), true),
        _ => (Some("text/html"), random.between(240, 1300), true),
    };
    let sent = if request.method == "HEAD" { 0 } else { body };
    let headers = if status == 0 { 0 } else { random.between(280, 620) };
    Answer {
        status,
        result,
        detailed,
        content_type,
        content_length: told.then_some(body),
        bytes: sent + headers,
        first_byte_ms,
        taken_ms: first_byte_ms + sent / request.visitor.bytes_per_ms,
        origin_ms,
    }
}
