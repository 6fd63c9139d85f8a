//! What is kept across batches.

use crate::cache::Cache;
use crate::parse::Told;

/// Scenario: far more different user agents than are kept, one of which comes again and again, and a very long one.
/// Guarantees: what is kept has a bound; what comes often stays; a long text is not kept.
#[test]
fn the_cache_is_bounded() {
    let mut cache = Cache::default();
    let mut parsed = 0;
    for nth in 0..50_000 {
        cache.get(&format!("agent {nth}"), Told::default);
        cache.get("often", || {
            parsed += 1;
            Told::default()
        });
        assert!(cache.len() <= 8192, "{} texts are kept", cache.len());
    }
    assert_eq!(parsed, 1, "a text that came again and again was parsed again");

    let long = "x".repeat(2000);
    let before = cache.len();
    for _ in 0..2 {
        cache.get(&long, || {
            parsed += 1;
            Told::default()
        });
    }
    assert_eq!((cache.len(), parsed), (before, 3), "a long text was kept");
}
