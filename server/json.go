package server

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// strictJSON is Connect's JSON, but for one thing: a field it does not know is an
// error. JSON is what people write by hand, and a misspelt context, deadline or
// expiry that is passed over changes what a call does. Programs speak protobuf, in
// which fields of later versions are passed over as ever.
type strictJSON struct{ name string }

var errNoMessage = errors.New("not a protobuf message")

// Name implements [connect.Codec].
func (c strictJSON) Name() string { return c.name }

// Marshal implements [connect.Codec].
func (c strictJSON) Marshal(message any) ([]byte, error) { return c.MarshalAppend(nil, message) }

// MarshalAppend spares Connect a copy.
func (strictJSON) MarshalAppend(b []byte, message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T: %w", message, errNoMessage)
	}
	return protojson.MarshalOptions{}.MarshalAppend(b, m)
}

// Unmarshal implements [connect.Codec].
func (strictJSON) Unmarshal(b []byte, message any) error {
	m, ok := message.(proto.Message)
	switch {
	case !ok:
		return fmt.Errorf("%T: %w", message, errNoMessage)
	case len(b) == 0:
		return errors.New("an empty body, where a JSON object belongs: {} at least")
	}
	if err := protojson.Unmarshal(b, m); err != nil {
		// Protobuf varies the space in its texts, so that nobody relies on them.
		why := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
		return fmt.Errorf("%s: %s; nothing was done", m.ProtoReflect().Descriptor().Name(), why)
	}
	return nil
}

// IsBinary keeps JSON readable in the query of a GET.
func (strictJSON) IsBinary() bool { return false }
