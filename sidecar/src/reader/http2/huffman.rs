//! HPACK's Huffman code (RFC 7541, section 5.2 and appendix B).
//!
//! The code is canonical: ordered by length and then by symbol, the codes count up. So the lengths alone give all of it,
//! and a code is found by comparing with the first of each length; codes of up to eight bits, which is all that common text
//! has, by one look-up.

/// Length of each symbol's code in bits; the last symbol ends a string, and must not appear in one.
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];
const SYMBOLS: usize = 257;
const END_OF_STRING: u16 = 256;
const LONGEST: usize = 30;

static CODE: Code = Code::build();

/// Decodes a string and appends it. None when it is no Huffman code, or badly padded.
pub(super) fn decode(bytes: &[u8], text: &mut Vec<u8>) -> Option<()> {
    let mut rest = bytes.iter();
    // Bits that were read and not used, from the top.
    let (mut window, mut bits) = (0_u64, 0_u32);
    loop {
        while bits <= 56 {
            let Some(byte) = rest.next() else { break };
            window |= u64::from(*byte) << (56 - bits);
            bits += 8;
        }
        let (symbol, length) = CODE.first_symbol((window >> 32) as u32);
        if length > bits {
            // What is left is padding: fewer than eight bits, all of them set.
            let padding = window.checked_shr(64 - bits).unwrap_or(0);
            return (bits < 8 && padding + 1 == 1 << bits).then_some(());
        }
        if symbol == END_OF_STRING {
            return None;
        }
        text.push(symbol as u8);
        window <<= length;
        bits -= length;
    }
}

struct Code {
    /// By a code's first eight bits: its symbol and length; length 0 where it is longer.
    short: [(u8, u8); 256],
    /// Symbols by length and value: the order of their codes.
    symbols: [u16; SYMBOLS],
    /// By length: its first code aligned to the top of 32 bits, the end of its codes, and its first code's place among the
    /// symbols.
    first: [u32; LONGEST + 1],
    end: [u64; LONGEST + 1],
    place: [u16; LONGEST + 1],
}

impl Code {
    const fn build() -> Self {
        let mut code = Self {
            short: [(0, 0); 256],
            symbols: [0; SYMBOLS],
            first: [0; LONGEST + 1],
            end: [0; LONGEST + 1],
            place: [0; LONGEST + 1],
        };
        let (mut next, mut place) = (0_u64, 0);
        let mut length = 1;
        while length <= LONGEST {
            code.first[length] = next as u32;
            code.place[length] = place as u16;
            let mut symbol = 0;
            while symbol < SYMBOLS {
                if LENGTHS[symbol] as usize == length {
                    let step = 1_u64 << (32 - length);
                    if length <= 8 {
                        let mut prefix = next >> 24;
                        while prefix < (next + step) >> 24 {
                            code.short[prefix as usize] = (symbol as u8, length as u8);
                            prefix += 1;
                        }
                    }
                    code.symbols[place] = symbol as u16;
                    place += 1;
                    next += step;
                }
                symbol += 1;
            }
            code.end[length] = next;
            length += 1;
        }
        code
    }

    /// The symbol whose code a window begins with, and the code's length.
    fn first_symbol(&self, window: u32) -> (u16, u32) {
        let (symbol, length) = self.short[(window >> 24) as usize];
        if length != 0 {
            return (u16::from(symbol), u32::from(length));
        }
        let longer = 9..LONGEST;
        let length = longer.into_iter().find(|length| u64::from(window) < self.end[*length]).unwrap_or(LONGEST);
        let nth = (window - self.first[length]) >> (32 - length);
        (self.symbols[usize::from(self.place[length]) + nth as usize], length as u32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        decode(bytes, &mut text).map(|()| text)
    }

    /// The encoder that the decoder does not need.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for byte in text {
            let length = usize::from(LENGTHS[usize::from(*byte)]);
            let place = CODE.symbols.iter().position(|symbol| *symbol == u16::from(*byte)).unwrap();
            let code = (CODE.first[length] >> (32 - length)) + (place - usize::from(CODE.place[length])) as u32;
            bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
        }
        bits.resize(bits.len().next_multiple_of(8), true);
        bits.chunks(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
    }

    #[test]
    fn the_codes_are_those_of_the_standard() {
        // RFC 7541, appendix C.4 and C.6.
        assert_eq!(decoded(b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff").unwrap(), b"www.example.com");
        assert_eq!(decoded(b"\xae\xc3\x77\x1a\x4b").unwrap(), b"private");
        let date = b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff";
        assert_eq!(decoded(date).unwrap(), b"Mon, 21 Oct 2013 20:13:21 GMT");
        assert_eq!(CODE.end[LONGEST], 1 << 32, "the codes fill the space");
    }

    #[test]
    fn wrong_padding_and_an_end_inside_are_refused() {
        assert_eq!(decoded(b""), Some(Vec::new()));
        // "a" is 00011: three bits of padding, all set.
        assert_eq!(decoded(&[0b0001_1111]).unwrap(), b"a");
        assert_eq!(decoded(&[0b0001_1110]), None);
        assert_eq!(decoded(&[0b0001_1111, 0xff]), None, "a whole byte of padding");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), None, "the end of a string");
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decoded(&encode(&text)), Some(text));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(text) = decoded(&bytes) {
                prop_assert_eq!(encode(&text), bytes);
            }
        }
    }
}
