package replica

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cartwheel-db/cartwheel/crdt"
	"github.com/cartwheel-db/cartwheel/dvv"
)

// What is staged of a snapshot, on disk, by the first byte of its key:
//
//	'h'                       how far a promotion in pieces is, see appendHeader
//	'k' key                   differ (1 byte), the dots that clears had deferred in the cut
//	'o' issued client seq     what the source remembered of an operation
//	'r' address               a row of the cut
//
// It means something only while the mark of a promotion in pieces stands, or to
// the install that wrote it: whatever else is found at opening is dropped.
const (
	stagedHeader    byte = 'h'
	stagedClears    byte = 'k'
	stagedOperation byte = 'o'
	stagedRow       byte = 'r'
)

func stageKey(kind byte, of []byte) []byte { return append([]byte{kind}, of...) }

func operationKey(op crdt.Operation) []byte {
	b := append(binary.BigEndian.AppendUint64([]byte{stagedOperation}, uint64(op.Issued)), op.Client[:]...)
	return binary.BigEndian.AppendUint64(b, op.Seq)
}

// readOperationKey reads what [operationKey] wrote; nothing is the zero operation.
func readOperationKey(b []byte) (op crdt.Operation, ok bool) {
	if len(b) == 0 {
		return op, true
	}
	if len(b) != 1+8+len(op.Client)+8 || b[0] != stagedOperation {
		return op, false
	}
	op.Issued = int64(binary.BigEndian.Uint64(b[1:]))
	copy(op.Client[:], b[9:])
	op.Seq = binary.BigEndian.Uint64(b[9+len(op.Client):])
	return op, true
}

func appendClears(b []byte, differ bool, dots dvv.Clock) []byte {
	var flag byte
	if differ {
		flag = 1
	}
	return dots.AppendBinary(append(b, flag))
}

func readClears(key, value []byte) (k crdt.Key, differ bool, dots dvv.Clock, err error) {
	k, _, err = crdt.DecodeKey(key[1:])
	if err == nil && len(value) == 0 {
		err = errors.New("no value")
	}
	if err == nil {
		differ = value[0] == 1
		err = dots.UnmarshalBinary(value[1:])
	}
	if err != nil {
		err = fmt.Errorf("staged clears %x: %w", key, err)
	}
	return k, differ, dots, err
}

// headerVersion begins the record of a promotion in pieces:
//
//	version (1 byte, 1) | step (1 byte) | all rows (1 byte)
//	uvarint leaves | a bit for each leaf
//	uvarint length | where the step goes on
//	the cut's clock
const headerVersion = 1

func (in *Install) appendHeader(b []byte) []byte {
	var all byte
	if in.all {
		all = 1
	}
	b = append(b, headerVersion, byte(in.step), all)
	b = append(binary.AppendUvarint(b, uint64(in.size)), in.leaves...)
	b = append(binary.AppendUvarint(b, uint64(len(in.at))), in.at...)
	return in.cut.AppendBinary(b)
}

var errStaged = errors.New("staged header is malformed")

func (in *Install) readHeader(b []byte) error {
	if len(b) < 3 || b[0] != headerVersion || step(b[1]) >= stepEnd || b[2] > 1 {
		return errStaged
	}
	in.step, in.all = step(b[1]), b[2] == 1
	b = b[3:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > 1<<16 || int(size+7)/8 > len(b)-n {
		return errStaged
	}
	in.size, b = int(size), b[n:]
	n = (in.size + 7) / 8
	in.leaves, b = append([]byte{}, b[:n]...), b[n:]
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return errStaged
	}
	in.at, b = append([]byte{}, b[n:n+int(length)]...), b[n+int(length):]
	return in.cut.UnmarshalBinary(b)
}
