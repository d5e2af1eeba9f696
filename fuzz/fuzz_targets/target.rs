//! No reading of a target holds what is refused, and reading it again changes nothing.
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
});
