package cartwheel

import (
	"context"
	"iter"
	"time"

	"connectrpc.com/connect"

	cartwheelv1 "github.com/cartwheel-db/cartwheel/sdk/gen/cartwheel/v1"
)

// Set is a handle on a set of strings. Adds win: an add that runs beside a
// remove or a clear stays. A remove takes away what was observed, by the given
// Context or by a read made for the purpose.
type Set struct{ address }

// Set returns a handle on the set at bucket and key. An absent set is empty.
func (db *DB) Set(bucket, key string) *Set {
	return &Set{db.at(bucket, key)}
}

// With returns a handle with more options.
func (s *Set) With(options ...CallOption) *Set { return &Set{s.with(options)} }

// Member is one member of a set and what travels with it.
type Member struct {
	Name      string    // non-empty UTF-8, at most 4 KiB
	Note      []byte    // at most 1 MiB; empty for none
	ExpiresAt time.Time // no longer shown from then on, to the millisecond; zero for never
}

// Change is one step of an Update: see Adding and Removing.
type Change struct {
	add    *Member
	remove string
}

// Adding is the change that puts a member in.
func Adding(member Member) Change { return Change{add: &member} }

// Removing is the change that takes a member out.
func Removing(member string) Change { return Change{remove: member} }

// Add puts members in.
func (s *Set) Add(ctx context.Context, members ...string) error {
	list := make([]Member, len(members))
	for i, name := range members {
		list[i].Name = name
	}
	_, err := s.AddMembers(ctx, list...)
	return err
}

// AddMembers puts members in with their notes and expiries. Of one already present
// the latest note is shown, until the latest expiry that any add of it has, of which
// never is the latest: to shorten it, see UpdateWith. The context covers what was
// added.
func (s *Set) AddMembers(ctx context.Context, members ...Member) (Context, error) {
	request := &cartwheelv1.SetServiceAddRequest{Bucket: s.bucket, Key: s.key}
	names := make([]string, len(members))
	for i, member := range members {
		names[i] = member.Name
		request.Members = append(request.Members, member.proto())
	}
	res, err := mutate(ctx, s.address, "set.add", names, func(options *cartwheelv1.WriteOptions) invoke[cartwheelv1.SetServiceAddResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.SetServiceAddResponse], error) {
			return e.set.Add(ctx, connect.NewRequest(request))
		}
	})
	return Context(res.GetContext()), err
}

// Remove takes out what a read now shows of the members. An absent one is no
// error.
func (s *Set) Remove(ctx context.Context, members ...string) error {
	return s.RemoveWith(ctx, "", members...)
}

// RemoveWith takes out what the context showed of the members, and leaves adds
// it did not show.
func (s *Set) RemoveWith(ctx context.Context, shown Context, members ...string) error {
	request := &cartwheelv1.SetServiceRemoveRequest{Bucket: s.bucket, Key: s.key, Members: members, Context: string(shown)}
	_, err := mutate(ctx, s.address, "set.remove", members, func(options *cartwheelv1.WriteOptions) invoke[cartwheelv1.SetServiceRemoveResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.SetServiceRemoveResponse], error) {
			return e.set.Remove(ctx, connect.NewRequest(request))
		}
	})
	return err
}

// Update applies the changes in order as one operation: everybody sees all of
// it or none.
func (s *Set) Update(ctx context.Context, changes ...Change) error {
	return s.UpdateWith(ctx, "", changes...)
}

// UpdateWith is Update where removes take out what the context showed.
func (s *Set) UpdateWith(ctx context.Context, shown Context, changes ...Change) error {
	request := &cartwheelv1.SetServiceUpdateRequest{Bucket: s.bucket, Key: s.key, Context: string(shown)}
	names := make([]string, len(changes))
	for i, change := range changes {
		step := &cartwheelv1.SetChange{Change: &cartwheelv1.SetChange_Remove{Remove: change.remove}}
		if names[i] = change.remove; change.add != nil {
			names[i] = change.add.Name
			step.Change = &cartwheelv1.SetChange_Add{Add: change.add.proto()}
		}
		request.Changes = append(request.Changes, step)
	}
	_, err := mutate(ctx, s.address, "set.update", names, func(options *cartwheelv1.WriteOptions) invoke[cartwheelv1.SetServiceUpdateResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.SetServiceUpdateResponse], error) {
			return e.set.Update(ctx, connect.NewRequest(request))
		}
	})
	return err
}

// Clear removes every member that a read now shows. Members added meanwhile
// stay.
func (s *Set) Clear(ctx context.Context) error { return s.ClearWith(ctx, "") }

// ClearWith removes exactly what the context showed.
func (s *Set) ClearWith(ctx context.Context, shown Context) error {
	request := &cartwheelv1.SetServiceClearRequest{Bucket: s.bucket, Key: s.key, Context: string(shown)}
	_, err := mutate(ctx, s.address, "set.clear", nil, func(options *cartwheelv1.WriteOptions) invoke[cartwheelv1.SetServiceClearResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.SetServiceClearResponse], error) {
			return e.set.Clear(ctx, connect.NewRequest(request))
		}
	})
	return err
}

// Contains reports whether the member is in the set.
func (s *Set) Contains(ctx context.Context, member string) (bool, error) {
	found, _, err := s.ContainsEach(ctx, member)
	return err == nil && found[0], err
}

// ContainsEach answers for every member, in order. The context covers what was
// shown of them.
func (s *Set) ContainsEach(ctx context.Context, members ...string) ([]bool, Context, error) {
	request := &cartwheelv1.SetServiceContainsRequest{Bucket: s.bucket, Key: s.key, Members: members}
	res, err := read(ctx, s.address, "set.contains", members, func(options *cartwheelv1.ReadOptions) invoke[cartwheelv1.SetServiceContainsResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.SetServiceContainsResponse], error) {
			res, err := e.set.Contains(ctx, connect.NewRequest(request))
			if err == nil && len(res.Msg.GetContains()) != len(members) {
				err = connect.NewError(connect.CodeDataLoss, errShortReply)
			}
			return res, err
		}
	})
	return res.GetContains(), Context(res.GetContext()), err
}

// Size counts the members.
func (s *Set) Size(ctx context.Context) (uint64, error) {
	request := &cartwheelv1.SetServiceSizeRequest{Bucket: s.bucket, Key: s.key}
	res, err := read(ctx, s.address, "set.size", nil, func(options *cartwheelv1.ReadOptions) invoke[cartwheelv1.SetServiceSizeResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.SetServiceSizeResponse], error) {
			return e.set.Size(ctx, connect.NewRequest(request))
		}
	})
	return res.GetSize(), err
}

// ListOption narrows a listing of members.
type ListOption func(*listing)

type listing struct {
	prefix, cursor string
	first, end     string
	limit          uint32
}

// Prefix lists only members that begin with it.
func Prefix(prefix string) ListOption { return func(l *listing) { l.prefix = prefix } }

// Between lists only members of a set at or behind first and before end, in byte
// order; an empty bound is none. Maps have no such listing.
func Between(first, end string) ListOption {
	return func(l *listing) { l.first, l.end = first, end }
}

// PageSize asks for pages of at most n members; without it the server chooses.
func PageSize(n uint32) ListOption { return func(l *listing) { l.limit = n } }

// From begins after the page whose Next it is.
func From(cursor string) ListOption { return func(l *listing) { l.cursor = cursor } }

// Members lists the set in byte order, page by page, so that a set of any size
// may be walked. A member present throughout the walk comes exactly once. An
// error is the last thing it yields.
func (s *Set) Members(ctx context.Context, options ...ListOption) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		for page, err := range s.Pages(ctx, options...) {
			if err != nil {
				yield(Member{}, err)
				return
			}
			for _, member := range page.Members {
				if !yield(member, nil) {
					return
				}
			}
		}
	}
}

// Page is one page of a listing.
type Page struct {
	Members []Member
	Next    string  // where the next page begins, for From; empty after the last
	Context Context // covers what this page showed
}

// Pages is Members by the page, for those who need the contexts or want to go
// on later.
func (s *Set) Pages(ctx context.Context, options ...ListOption) iter.Seq2[Page, error] {
	var from listing
	for _, option := range options {
		option(&from)
	}
	return func(yield func(Page, error) bool) {
		for list, more := from, true; more; {
			page, err := s.page(ctx, list)
			if !yield(page, err) || err != nil {
				return
			}
			list.cursor, more = page.Next, page.Next != ""
		}
	}
}

func (s *Set) page(ctx context.Context, list listing) (Page, error) {
	request := &cartwheelv1.SetServiceMembersRequest{Bucket: s.bucket, Key: s.key, Prefix: list.prefix, From: list.first, Until: list.end, Cursor: list.cursor, Limit: list.limit}
	res, err := read(ctx, s.address, "set.members", []string{list.prefix, list.first, list.end, list.cursor}, func(options *cartwheelv1.ReadOptions) invoke[cartwheelv1.SetServiceMembersResponse] {
		request.Options = options
		return func(ctx context.Context, e *endpoint) (*connect.Response[cartwheelv1.SetServiceMembersResponse], error) {
			return e.set.Members(ctx, connect.NewRequest(request))
		}
	})
	if err != nil {
		return Page{}, err
	}
	page := Page{Next: res.GetNextCursor(), Context: Context(res.GetContext())}
	for _, member := range res.GetMembers() {
		page.Members = append(page.Members, Member{Name: member.GetMember(), Note: member.GetNote(), ExpiresAt: expiresAt(member.GetExpiresAtMs())})
	}
	return page, nil
}

func (m Member) proto() *cartwheelv1.Member {
	return &cartwheelv1.Member{Member: m.Name, Note: m.Note, ExpiresAtMs: expiryMillis(m.ExpiresAt)}
}
