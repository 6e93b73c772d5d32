package archive

import "hash/crc32"

// joinCRC is the CRC-32 of two byte strings put together, from the CRC-32 of
// each and the length of the second (the polynomial arithmetic of zlib's
// crc32_combine). The table of contents needs it: its tar header goes first and
// holds a length that is known last.
func joinCRC(first, second uint32, secondLen int64) uint32 {
	return mulCRC(powCRC(secondLen*8), first) ^ second
}

// mulCRC multiplies two polynomials modulo the CRC polynomial, bits reflected.
func mulCRC(a, b uint32) (product uint32) {
	for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		carry := b & 1
		b >>= 1
		if carry != 0 {
			b ^= crc32.IEEE
		}
	}
	return product
}

// powCRC is x to the power n modulo the CRC polynomial.
func powCRC(n int64) uint32 {
	result, square := uint32(1)<<31, uint32(1)<<30
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			result = mulCRC(square, result)
		}
		square = mulCRC(square, square)
	}
	return result
}
