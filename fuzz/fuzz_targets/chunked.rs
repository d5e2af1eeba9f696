//! How a chunked body is cut changes nothing about where it ends or whether it is sound.
#![no_main]

use foregate::request::head::ChunkReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, body) = input;
    let whole = ChunkReader::default().feed(body).map_err(drop);
    let mut reader = ChunkReader::default();
    let mut parts = Ok((false, 0));
    for part in body.chunks(usize::from(cut).max(1)) {
        let Ok((false, before)) = parts else { break };
        parts = reader.feed(part).map(|read| (read.end, before + read.len)).map_err(drop);
    }
    assert_eq!(parts, whole.map(|whole| (whole.end, whole.len)));
});
