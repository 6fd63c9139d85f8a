//! What known programs are taken for.

use expect_test::{Expect, expect};

use crate::parse::{Asked, Field, Reading};

fn told(percent_encoded: Option<bool>, text: &str) -> String {
    let reading = Reading { percent_encoded, bots: Vec::new() };
    let told = reading.parse(text, Asked::of(&Field::ALL));
    let texts = Field::ALL.iter().filter(|it| **it != Field::IsBot);
    let texts: Vec<&str> = texts.map(|it| told.text(*it).unwrap_or("null")).collect();
    format!("{}{}\n", texts.join(" | "), if told.is_bot { " | bot" } else { "" })
}

fn check(agents: &[&str], expected: Expect) {
    expected.assert_eq(&agents.iter().map(|it| told(None, it)).collect::<String>());
}

/// Scenario: browsers on the desk, as of 2024 to 2026.
/// Guarantees: name, version, device, system.
#[test]
fn browsers() {
    check(
        &[
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.6778.86 Safari/537.36",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4.1 Safari/605.1.15",
            "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 Edg/124.0.2478.51",
            "Mozilla/5.0 (Windows NT 10.0; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36 OPR/108.0.0.0",
            "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/123.0.0.0 Safari/537.36",
            "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
        ],
        expect![[r#"
            Chrome | 124.0.0.0 | null | Windows | 10 | Windows 10
            Chrome | 131.0.6778.86 | Mac | Mac OS X | 10.15.7 | Mac OS X 10.15.7
            Safari | 17.4.1 | Mac | Mac OS X | 10.15.7 | Mac OS X 10.15.7
            Firefox | 125.0 | null | Ubuntu | null | Ubuntu
            Edge | 124.0.2478.51 | null | Windows | 10 | Windows 10
            Opera | 108.0.0 | null | Windows | 10 | Windows 10
            Chrome | 123.0.0.0 | null | Chrome OS | 14541.0.0 | Chrome OS 14541.0.0
            IE | 11.0 | null | Windows | 7 | Windows 7
        "#]],
    );
}

/// Scenario: telephones, tablets, and programs that show pages within themselves.
/// Guarantees: name, version, device, system.
#[test]
fn in_the_hand() {
    check(
        &[
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4.1 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/120.0.6099.119 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.6367.82 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/24.0 Chrome/117.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Android 13; Mobile; rv:125.0) Gecko/125.0 Firefox/125.0",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21D50 [FBAN/FBIOS;FBAV/450.0.0.38.108;FBBV/564431005;FBDV/iPhone14,5;FBMD/iPhone;FBSN/iOS;FBSV/17.3;FBSS/3;FBID/phone;FBLC/en_US;FBOP/5]",
        ],
        expect![[r#"
            Mobile Safari | 17.4.1 | iPhone | iOS | 17.4.1 | iOS 17.4.1
            Chrome Mobile iOS | 120.0.6099.119 | iPad | iOS | 16.6 | iOS 16.6
            Chrome Mobile | 124.0.6367.82 | Samsung SM-S918B | Android | 14 | Android 14
            Samsung Internet | 24.0 | K | Android | 10 | Android 10
            Firefox Mobile | 125.0 | Generic Smartphone | Android | 13 | Android 13
            Facebook | 450.0.0 | iPhone | iOS | 17.3 | iOS 17.3
        "#]],
    );
}

/// Scenario: crawlers, monitors, makers of previews, and tools.
/// Guarantees: which of them count as bots.
#[test]
fn machines() {
    check(
        &[
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.6367.60 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/124.0.0.0 Safari/537.36",
            "curl/8.5.0",
            "python-requests/2.31.0",
            "Amazon CloudFront",
            "Go-http-client/2.0",
            "Wget/1.21.3",
            "-",
            "",
        ],
        expect![[r#"
            Googlebot | 2.1 | Spider | null | null | null | bot
            Googlebot | 2.1 | Spider | Android | 6.0.1 | Android 6.0.1 | bot
            bingbot | 2.0 | Spider | null | null | null | bot
            GPTBot | 1.2 | Spider | null | null | null | bot
            ClaudeBot | 1.0 | Spider | null | null | null | bot
            FacebookBot | 1.1 | Spider | null | null | null | bot
            UptimeRobot | 2.0 | Spider | null | null | null | bot
            HeadlessChrome | 124.0.0 | null | Linux | null | Linux
            curl | 8.5.0 | null | null | null | null
            Python Requests | 2.31 | null | null | null | null
            null | null | null | null | null | null
            Go-http-client | 2.0 | null | null | null | null
            Wget | 1.21.3 | null | null | null | null
            null | null | null | null | null | null
            null | null | null | null | null | null
        "#]],
    );
}

/// Scenario: user agents as CloudFront logs them, broken escapes, and one that only looks encoded.
/// Guarantees: by default a text is decoded if it has `%20` and no blank; else as the file says.
#[test]
fn percent_encoded() {
    let agents = [
        "Mozilla/5.0%20(X11;%20Linux%20x86_64;%20rv:125.0)%20Gecko/20100101%20Firefox/125.0",
        "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0 100%20",
        "Firefox/125.0%20%zz%ff%",
        "Firefox/125.0%2E1",
    ];
    let mut found = String::new();
    for encoded in [None, Some(true), Some(false)] {
        found += &format!("{encoded:?}\n");
        found += &agents.map(|it| told(encoded, it)).concat();
    }
    expect![[r#"
        None
        Firefox | 125.0 | null | Linux | null | Linux
        Firefox | 125.0 | null | Linux | null | Linux
        Firefox | 125.0 | null | null | null | null
        Firefox | 125.0 | null | null | null | null
        Some(true)
        Firefox | 125.0 | null | Linux | null | Linux
        Firefox | 125.0 | null | Linux | null | Linux
        Firefox | 125.0 | null | null | null | null
        Firefox | 125.0.1 | null | null | null | null
        Some(false)
        Firefox | 125.0 | null | Linux | null | Linux
        Firefox | 125.0 | null | Linux | null | Linux
        Firefox | 125.0 | null | null | null | null
        Firefox | 125.0 | null | null | null | null
    "#]]
    .assert_eq(&found);
}

/// Scenario: a user agent of many megabytes, one whose 2,048th byte is inside a character, and one with control
/// characters.
/// Guarantees: the first 2 KiB count, cut between characters.
#[test]
fn hostile() {
    let long = format!("{}Firefox/125.0", "x ".repeat(4 << 20));
    let cut = format!("Firefox/125.0 {}", "ü".repeat(4000));
    check(
        &[&long, &cut, "Firefox/\u{0}125.0\n\t\u{7f}"],
        expect![[r#"
        null | null | null | null | null | null
        Firefox | 125.0 | null | null | null | null
        null | null | null | null | null | null
    "#]],
    );
}
