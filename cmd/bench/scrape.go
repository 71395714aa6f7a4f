package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// What a node counts about itself, by the names of its /metrics.
const (
	cpuSeconds   = "process_cpu_seconds_total"
	startTime    = "process_start_time_seconds"
	processID    = "cartwheel_process_id"
	storeSyncs   = "cartwheel_store_syncs_total"
	linkFrames   = "cartwheel_link_frames_sent_total"
	linkMessages = "cartwheel_link_messages_sent_total"
	commits      = "cartwheel_commits_total"
	commitGroups = "cartwheel_commit_groups_total"
	groupsSent   = "cartwheel_groups_sent_total"
	forwards     = "cartwheel_mutations_forwarded_total"
)

var wanted = []string{cpuSeconds, startTime, processID, storeSyncs, linkFrames, linkMessages, commits, commitGroups, groupsSent, forwards}

// maxMetrics bounds a page of metrics, in bytes.
const maxMetrics = 8 << 20

// metrics is one reading of one node: the sum over labels of each name.
type metrics map[string]float64

// parseMetrics reads the text format of Prometheus as far as it is needed:
// name, labels in braces, value, and perhaps a timestamp.
func parseMetrics(from io.Reader) (metrics, error) {
	m := metrics{}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, labelled := strings.Cut(line, "{")
		if labelled {
			// A label may hold anything but an unescaped quote; values hold no brace.
			rest = rest[strings.LastIndex(rest, "}")+1:]
		} else {
			name, rest, _ = strings.Cut(line, " ")
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			return nil, fmt.Errorf("metric %.40q: no value", line)
		}
		value, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return nil, fmt.Errorf("metric %.40q: %w", line, err)
		}
		m[name] += value
	}
	return m, lines.Err()
}

// reading is what the endpoints said at one time; nil for one that said nothing
// of use.
type reading []metrics

// scrape reads the metrics of every endpoint.
func scrape(ctx context.Context, client *http.Client, endpoints []string) (r reading, warnings []string) {
	for _, endpoint := range endpoints {
		m, err := scrapeOne(ctx, client, endpoint)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("%s/metrics: %v", endpoint, err))
		}
		r = append(r, m)
	}
	return r, warnings
}

func scrapeOne(ctx context.Context, client *http.Client, endpoint string) (metrics, error) {
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodGet, endpoint+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", response.Status)
	}
	m, err := parseMetrics(io.LimitReader(response.Body, maxMetrics))
	if err != nil {
		return nil, err
	}
	for _, name := range wanted {
		if _, ok := m[name]; !ok {
			return nil, fmt.Errorf("no %s", name)
		}
	}
	return m, nil
}

// process tells the processes of a reading apart. Nodes of one process say the
// same; two hosts may well have the same process id.
type process struct {
	host    string
	id      float64
	started float64
}

func processOf(endpoint string, m metrics) process {
	host := endpoint
	if u, err := url.Parse(endpoint); err == nil {
		host = u.Hostname()
	}
	return process{host, m[processID], m[startTime]}
}

// Server is what the nodes spent during the measurement.
type Server struct {
	Nodes      int     `json:"nodes"`     // that were read before and after
	Processes  int     `json:"processes"` // they run in
	CPUSeconds float64 `json:"cpu_seconds"`
	Syncs      float64 `json:"syncs"`
	Frames     float64 `json:"frames"`
	Messages   float64 `json:"messages"`
	Commits    float64 `json:"commits"`
	Groups     float64 `json:"groups"`
	Shipped    float64 `json:"groups_sent"`
	Forwards   float64 `json:"forwards"` // operations handed to another node

	CPUPerOp         float64 `json:"cpu_us_per_op"`
	SyncsPerOp       float64 `json:"syncs_per_op"`
	SyncsPerWrite    float64 `json:"syncs_per_write"`
	GroupsPerCommit  float64 `json:"groups_per_commit"`
	MessagesPerFrame float64 `json:"messages_per_frame"`
	GroupsPerFrame   float64 `json:"groups_per_frame"` // events travel as groups
	ForwardsPer1000  float64 `json:"forwards_per_1000_ops"`
}

// spent takes the earlier reading from the later one. A node that was started
// again in between counts from 0 and is left out.
func spent(endpoints []string, before, after reading) (s Server, warnings []string) {
	seen := map[process]bool{}
	for i, endpoint := range endpoints {
		if before[i] == nil || after[i] == nil {
			continue
		}
		p := processOf(endpoint, after[i])
		if p != processOf(endpoint, before[i]) {
			warnings = append(warnings, endpoint+": started again during the measurement; left out of the figures of the servers")
			continue
		}
		used := func(name string) float64 { return after[i][name] - before[i][name] }
		s.Nodes++
		s.Syncs += used(storeSyncs)
		s.Frames += used(linkFrames)
		s.Messages += used(linkMessages)
		s.Commits += used(commits)
		s.Groups += used(commitGroups)
		s.Shipped += used(groupsSent)
		s.Forwards += used(forwards)
		if !seen[p] {
			seen[p] = true
			s.CPUSeconds += used(cpuSeconds)
		}
	}
	s.Processes = len(seen)
	return s, warnings
}

// over relates what was spent to what was done.
func (s Server) over(ops, writes uint64) Server {
	s.CPUPerOp = ratio(s.CPUSeconds*1e6, float64(ops))
	s.SyncsPerOp = ratio(s.Syncs, float64(ops))
	s.SyncsPerWrite = ratio(s.Syncs, float64(writes))
	s.GroupsPerCommit = ratio(s.Groups, s.Commits)
	s.MessagesPerFrame = ratio(s.Messages, s.Frames)
	s.GroupsPerFrame = ratio(s.Shipped, s.Frames)
	s.ForwardsPer1000 = ratio(s.Forwards*1000, float64(ops))
	return s
}
