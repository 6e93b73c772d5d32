// Package types holds the nouns of Staddle and their one canonical encoding.
//
// Every record that is hashed, signed, stored or sent has here its Go struct,
// its bounds and its dag-cbor form: an array of fixed length ("tuple"), shortest
// integers, definite lengths, no floats, no maps. Decoders refuse anything else,
// trailing bytes included, so a value has exactly one encoding and one hash.
//
// The package imports no clock, no chance, no disk and starts nothing; all its
// functions may be called at once from many goroutines as long as the values
// handed in are not shared.
package types
