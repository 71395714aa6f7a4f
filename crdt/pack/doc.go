// Package pack writes and reads msgpack without trusting a byte of it.
//
// Events, rows and logs travel between nodes and rest on disk as msgpack. The
// library this project uses elsewhere (vmihailenco/msgpack) believes the
// length a header declares: five bytes can make it allocate 4 GiB, and nested
// values recurse without end. So the hot formats are written by appending and
// read by walking a byte slice:
//
//	Append…(b, v) ──▶ [ 93 | cf 00 00 … 07 | c4 03 61 62 63 ] ──▶ Reader
//	                     array  uint64          bin
//
// The rules of reading: a declared length is bounded by the bytes that are
// left, before anything is allocated; integers must be in their shortest form,
// so one value has one encoding; nothing recurses; trailing bytes are refused
// by [Reader.Close]. The bytes written are exactly those the library writes;
// a property test holds the two against each other.
package pack
