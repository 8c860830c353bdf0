//! Whatever is on disk is refused or read; a snapshot that is read is sound and written back to the same content.

#![no_main]

use collab_engine::content::Content;
use collab_engine::oplog::{decode_record, encode_record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((entry, stamp)) = decode_record(bytes) {
        let written = encode_record(&entry, &stamp);
        assert_eq!(decode_record(&written).as_ref(), Ok(&(entry, stamp)));
    }
    if let Ok(content) = Content::decode(bytes) {
        assert_eq!(content.check(), Ok(()));
        assert_eq!(Content::decode(&content.encode()).as_ref(), Ok(&content));
    }
});
