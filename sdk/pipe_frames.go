package cartwheel

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1/cartwheelv1connect"
)

// The streaming half of the Connect protocol, as far as a pipe needs it: each
// message is prefixed by a byte of flags and 4 of its length. It is spoken here and
// not through Connect's client because that one sends each message in two pieces
// from one goroutine to another, and what a message costs is what a pipe is about.
//
// https://connectrpc.com/docs/protocol/#streaming-rpcs

const (
	streamPath  = cartwheelv1connect.PipelineServiceStreamProcedure
	streamType  = "application/connect+proto"
	prefixBytes = 5
	endOfStream = 2 // a flag: what follows is the end, with its error if any
	// believed is how long a message may say it is before any of it has come.
	believed = 256 << 10
)

// errNoStreams says that an endpoint answers, and not with a stream.
var errNoStreams = errors.New("no stream of operations to be had here")

func putPrefix(message []byte) {
	message[0] = 0
	binary.BigEndian.PutUint32(message[1:], uint32(len(message)-prefixBytes))
}

// frames is what a node sends.
type frames struct {
	body io.ReadCloser
	in   *bufio.Reader
}

// openFrames begins a stream whose request has the given body.
func openFrames(ctx context.Context, client connect.HTTPClient, url string, out io.ReadCloser) (*frames, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, out)
	if err != nil {
		return nil, err
	}
	r.Header["Content-Type"] = []string{streamType}
	r.Header["Connect-Protocol-Version"] = []string{"1"}
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK || response.ProtoMajor < 2 || !strings.HasPrefix(response.Header.Get("Content-Type"), streamType) {
		_ = response.Body.Close()
		return nil, fmt.Errorf("%w: %s, %s", errNoStreams, response.Proto, response.Status)
	}
	return &frames{response.Body, bufio.NewReaderSize(response.Body, 16<<10)}, nil
}

// next returns the next message, which is the caller's to keep. A stream that ends
// in good order ends with io.EOF.
func (f *frames) next() ([]byte, error) {
	var prefix [prefixBytes]byte
	if _, err := io.ReadFull(f.in, prefix[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(prefix[1:])
	switch {
	case prefix[0] == endOfStream:
		said, err := io.ReadAll(io.LimitReader(f.in, 4<<10))
		if err == nil && strings.Contains(string(said), `"unimplemented"`) {
			err = errNoStreams
		}
		if err == nil && strings.Contains(string(said), `"error"`) {
			err = fmt.Errorf("the node ended the stream: %s", said)
		}
		if err == nil {
			err = io.EOF
		}
		return nil, err
	case prefix[0] != 0:
		return nil, fmt.Errorf("a message with flags %#x, which nobody asked for", prefix[0])
	case size > maxReply:
		return nil, fmt.Errorf("a message of %d bytes, limit %d", size, maxReply)
	}
	if size <= believed {
		message := make([]byte, size)
		_, err := io.ReadFull(f.in, message)
		return message, err
	}
	message, err := io.ReadAll(io.LimitReader(f.in, int64(size)))
	if err == nil && len(message) < int(size) {
		err = io.ErrUnexpectedEOF
	}
	return message, err
}

func (f *frames) close() { _ = f.body.Close() }
