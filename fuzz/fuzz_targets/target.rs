//! No reading of a target holds what is refused, and reading it again changes nothing. With another beginning
//! nobody reads anything that he could not read behind the old one.
#![no_main]

use foregate::request::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &str| {
    let Ok(target) = Target::parse(raw) else { return };
    assert_eq!(target.as_str(), raw);
    assert_eq!(Target::parse(target.as_str()), Ok(target.clone()));
    let mut count = 0;
    for reading in target.readings() {
        count += 1;
        assert!(reading.starts_with('/'));
        assert!(!reading.contains('\\') && !reading.contains(char::is_control));
        assert!(!reading.split('/').any(|segment| matches!(segment, "." | "..")));
    }
    assert!((1..=32).contains(&count));
    for (strip, add) in [("/api", ""), ("/api", "/v1"), ("", "/v1"), ("/a/b", "")] {
        let Ok(rewritten) = target.rewritten(strip, add) else { continue };
        assert!(rewritten.as_str().starts_with('/') && !rewritten.as_str().starts_with("//"));
        for reading in rewritten.readings() {
            let rest = reading.strip_prefix(add).expect("it begins with what was added");
            assert!(target.readings().any(|original| match original.strip_prefix(strip) {
                Some("") => rest.is_empty() || rest == "/",
                Some(original) => original == rest,
                None => false,
            }));
        }
    }
});
