//! What there is on the imaginary site, and who visits it. Texts are written as CloudFront writes them: percent-encoded.

/// Where a visitor comes from.
pub struct Place {
    pub country: &'static str,
    /// Autonomous systems of access networks there.
    pub asns: &'static [u32],
    /// Edge locations near by: the IATA code of an airport and a number.
    pub edges: &'static [&'static str],
    pub language: &'static str,
    /// Milliseconds that a hit takes on top of the edge's own work.
    pub distance_ms: u64,
}

const fn place(
    country: &'static str,
    asns: &'static [u32],
    edges: &'static [&'static str],
    language: &'static str,
    distance_ms: u64,
) -> Place {
    Place { country, asns, edges, language, distance_ms }
}

pub const PLACES: &[(u32, Place)] = &[
    (
        30,
        place(
            "US",
            &[7922, 7018, 701, 21928],
            &["IAD89-P1", "EWR52-C4", "SFO53-C1", "ORD58-P2", "DFW56-P4"],
            "en-US",
            4,
        ),
    ),
    (14, place("DE", &[3320, 3209, 6805], &["FRA56-P4", "FRA60-P2", "MUC50-P1", "TXL50-P2"], "de-DE", 3)),
    (9, place("GB", &[2856, 5089, 5607], &["LHR61-P3", "LHR50-P7", "MAN51-P1"], "en-GB", 3)),
    (7, place("FR", &[3215, 12322, 15557], &["CDG50-P2", "MRS52-P4"], "fr-FR", 4)),
    (7, place("JP", &[4713, 2516, 17676], &["NRT57-P3", "KIX50-P1"], "ja-JP", 3)),
    (7, place("IN", &[55836, 24560, 45609], &["BOM78-P4", "DEL51-P2", "MAA50-C1"], "en-IN", 14)),
    (6, place("BR", &[28573, 26599, 18881], &["GRU3-P1", "GIG51-P2"], "pt-BR", 12)),
    (5, place("NL", &[1136, 33915], &["AMS58-P5", "AMS1-P2"], "nl-NL", 2)),
    (4, place("CA", &[812, 577], &["YUL62-P1", "YTO50-P2"], "en-CA", 5)),
    (4, place("AU", &[1221, 4804], &["SYD62-P2", "MEL52-P1"], "en-AU", 6)),
    (3, place("PL", &[5617, 12741], &["WAW51-P2"], "pl-PL", 5)),
    (2, place("SE", &[3301, 1257], &["ARN56-P1"], "sv-SE", 4)),
    (1, place("ZA", &[37457, 5713], &["JNB50-C1", "CPT52-C1"], "en-ZA", 18)),
    (1, place("KE", &[33771], &["NBO50-C1"], "en-KE", 35)),
];

/// What a visitor looks with.
pub struct Browser {
    pub user_agent: &'static str,
    pub accept_encoding: &'static str,
    /// Writes the headers by which Chromium gives hints about itself.
    pub hints: bool,
    /// A program rather than a person: no cookies, no referrer.
    pub robot: bool,
}

const fn browser(user_agent: &'static str, hints: bool) -> Browser {
    Browser { user_agent, accept_encoding: "gzip,%20deflate,%20br,%20zstd", hints, robot: false }
}

const fn robot(user_agent: &'static str, accept_encoding: &'static str) -> Browser {
    Browser { user_agent, accept_encoding, hints: false, robot: true }
}

pub const BROWSERS: &[(u32, Browser)] = &[
    (
        28,
        browser(
            "Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36",
            true,
        ),
    ),
    (
        20,
        browser(
            "Mozilla/5.0%20(iPhone;%20CPU%20iPhone%20OS%2018_7%20like%20Mac%20OS%20X)%20AppleWebKit/605.1.15%20(KHTML,%20like%20Gecko)%20Version/26.0%20Mobile/15E148%20Safari/604.1",
            false,
        ),
    ),
    (
        18,
        browser(
            "Mozilla/5.0%20(Linux;%20Android%2010;%20K)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Mobile%20Safari/537.36",
            true,
        ),
    ),
    (
        9,
        browser(
            "Mozilla/5.0%20(Macintosh;%20Intel%20Mac%20OS%20X%2010_15_7)%20AppleWebKit/605.1.15%20(KHTML,%20like%20Gecko)%20Version/26.0%20Safari/605.1.15",
            false,
        ),
    ),
    (
        7,
        browser(
            "Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64;%20rv:144.0)%20Gecko/20100101%20Firefox/144.0",
            false,
        ),
    ),
    (
        5,
        browser(
            "Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko)%20Chrome/142.0.0.0%20Safari/537.36%20Edg/142.0.0.0",
            true,
        ),
    ),
    (3, browser("Mozilla/5.0%20(X11;%20Linux%20x86_64;%20rv:140.0)%20Gecko/20100101%20Firefox/140.0", false)),
    (
        3,
        robot(
            "Mozilla/5.0%20AppleWebKit/537.36%20(KHTML,%20like%20Gecko;%20compatible;%20Googlebot/2.1;%20+http://www.google.com/bot.html)%20Chrome/142.0.0.0%20Safari/537.36",
            "gzip,%20deflate,%20br",
        ),
    ),
    (
        2,
        robot("Mozilla/5.0%20(compatible;%20bingbot/2.0;%20+http://www.bing.com/bingbot.htm)", "gzip,%20deflate,%20br"),
    ),
    (1, robot("curl/8.14.1", "-")),
    (1, robot("python-requests/2.32.5", "gzip,%20deflate")),
];

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Page,
    /// Changes only together with its name.
    Asset,
    Image,
    Video,
    Api,
    Search,
    /// A pixel that counts views.
    Pixel,
    /// Asked for by those who look for holes, and not there.
    Probe,
}

/// A part of the site.
pub struct Part {
    pub kind: Kind,
    /// `{}` stands for one of so many names.
    pub path: &'static str,
    pub names: u64,
    pub content_type: &'static str,
    /// Bytes of the smallest and the largest body.
    pub bytes: (u64, u64),
    /// How many of a thousand requests the cache answers.
    pub hits_per_mille: u64,
    /// The pattern of the cache behaviour.
    pub pattern: &'static str,
    pub accept: &'static str,
}

const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const IMAGES: &str = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";

#[allow(clippy::too_many_arguments, reason = "a row of the table below")]
const fn part(
    kind: Kind,
    path: &'static str,
    names: u64,
    content_type: &'static str,
    bytes: (u64, u64),
    hits_per_mille: u64,
    pattern: &'static str,
    accept: &'static str,
) -> Part {
    Part { kind, path, names, content_type, bytes, hits_per_mille, pattern, accept }
}

pub const PARTS: &[(u32, Part)] = &[
    (70, part(Kind::Page, "/", 1, "text/html;%20charset=utf-8", (14_000, 19_000), 820, "*", HTML)),
    (90, part(Kind::Page, "/products/{}", 900, "text/html;%20charset=utf-8", (9_000, 48_000), 640, "*", HTML)),
    (
        25,
        part(
            Kind::Page,
            "/gr%25C3%25B6%25C3%259Fen/{}",
            12,
            "text/html;%20charset=utf-8",
            (6_000, 9_000),
            700,
            "*",
            HTML,
        ),
    ),
    (
        140,
        part(
            Kind::Asset,
            "/assets/app.{}.js",
            3,
            "application/javascript",
            (180_000, 240_000),
            985,
            "/assets/*",
            "*/*",
        ),
    ),
    (
        90,
        part(
            Kind::Asset,
            "/assets/site.{}.css",
            3,
            "text/css",
            (24_000, 60_000),
            985,
            "/assets/*",
            "text/css,*/*;q=0.1",
        ),
    ),
    (50, part(Kind::Asset, "/assets/fonts/inter-{}.woff2", 4, "font/woff2", (41_000, 99_000), 990, "/assets/*", "*/*")),
    (240, part(Kind::Image, "/images/{}.webp", 2400, "image/webp", (2_500, 310_000), 930, "/images/*", IMAGES)),
    (15, part(Kind::Image, "/favicon.ico", 1, "image/x-icon", (4_286, 4_286), 970, "*", IMAGES)),
    (60, part(Kind::Video, "/video/{}/1080p.mp4", 40, "video/mp4", (700_000, 4_200_000), 900, "/video/*", "*/*")),
    (80, part(Kind::Api, "/api/cart", 1, "application/json", (90, 2_400), 0, "/api/*", "application/json")),
    (45, part(Kind::Search, "/api/search", 1, "application/json", (300, 18_000), 150, "/api/*", "application/json")),
    (85, part(Kind::Pixel, "/i", 1, "image/gif", (35, 35), 0, "/i", IMAGES)),
    (10, part(Kind::Probe, "/{}.php", 9, "text/html", (540, 1_200), 300, "*", "*/*")),
];

/// Encoded twice where a browser encodes once: CloudFront writes a `%` as `%25`.
pub const SEARCHES: &[&str] = &[
    "shoes",
    "rain%2520jacket",
    "tent",
    "b%25C3%25BCcher",
    "50%2525+off",
    "na%25C3%25AFve+art",
    "%25E9%259B%25A8%25E5%2585%25B7",
    "socks",
    "backpack+30l",
    "it%2527s",
    "a%2526b",
];

pub const PROBES: &[&str] =
    &["wp-login", "xmlrpc", "admin", "phpinfo", "shell", "setup-config", "vendor/phpunit", "config", "test"];

pub const REFERRERS: &[(u32, &str)] = &[
    (50, "https://www.example.com/"),
    (25, "https://www.example.com/products/17"),
    (14, "https://www.google.com/"),
    (5, "https://duckduckgo.com/"),
    (6, "https://news.example.org/2026/10/gear?utm=rss"),
];

pub const HOST: &str = "www.example.com";
pub const DISTRIBUTION: &str = "d111111abcdef8.cloudfront.net";
pub const ORIGIN: &str = "origin.example.com";
