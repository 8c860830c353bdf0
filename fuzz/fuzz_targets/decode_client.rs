//! Whatever a client sends is refused or read, and what is read is written back to the same message.

#![no_main]

use collab_engine::protocol::codec::{decode_client, encode_client};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::Version;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &str| {
    let limits = Limits::default();
    for version in [Version::V1, Version::V2] {
        if let Ok(message) = decode_client(frame, version, &limits) {
            let written = encode_client(&message);
            assert_eq!(decode_client(&written, version, &limits).as_ref(), Ok(&message), "{written}");
        }
    }
});
