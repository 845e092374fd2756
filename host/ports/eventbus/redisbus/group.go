package redisbus

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// begin counts an attempt at an entry, for the partition's owner alone: 0 is for others.
var begin = redis.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local attempts = 1
local last = redis.call('HGET', KEYS[1], 'a' .. ARGV[2])
if last and redis.call('HGET', KEYS[1], 'n' .. ARGV[2]) == ARGV[3] then attempts = last + 1 end
redis.call('HSET', KEYS[1], 'a' .. ARGV[2], attempts, 'n' .. ARGV[2], ARGV[3])
return attempts`)

// settled moves the cursor, for the partition's owner alone.
var settled = redis.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'c' .. ARGV[2], ARGV[3])
return 1`)

// renew keeps a partition, or takes it where it is nobody's; 0 is another's.
var renew = redis.NewScript(`
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`)

// release gives a partition back.
var release = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0`)

func (l *lane) names() []string {
	g := l.s.want.Group
	return []string{l.s.keys.group(g), l.s.keys.owner(g, l.partition)}
}

// ask runs a script until Redis answers, or the lane ends.
func (l *lane) ask(script *redis.Script, args ...any) int {
	for {
		// Not the lane's context: what was handled is settled also as the lane ends.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), 2*time.Second)
		n, err := script.Run(ctx, l.s.bus.client, l.names(), args...).Int()
		cancel()
		if err == nil {
			return n
		}
		if l.ctx.Err() != nil {
			return 0
		}
		pause(l.ctx, 50*time.Millisecond)
	}
}

func (l *lane) count(_ context.Context, n uint64) (int, bool) {
	attempts := l.ask(begin, l.s.me, l.partition, n)
	return attempts, attempts > 0
}

func (l *lane) settle(e entry) bool { return l.ask(settled, l.s.me, l.partition, e.n) == 1 }

// own keeps as many partitions as are this member's share, until the subscription ends.
func (s *subscription) own() {
	ctx := s.reading
	every := max(s.want.AckWait/4, 10*time.Millisecond)
	quick := min(every, 200*time.Millisecond) // members come and go
	renewed := time.Time{}
	for ctx.Err() == nil {
		share, err := s.share(ctx)
		if err == nil {
			all := time.Since(renewed) >= every
			s.divide(ctx, share, all)
			if all {
				renewed = time.Now()
			}
		}
		pause(ctx, quick)
	}
	s.mu.Lock()
	lanes := s.lanes
	s.lanes = nil
	s.mu.Unlock()
	for p, l := range lanes {
		s.outlast(context.WithoutCancel(ctx), p, l)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	for p := range lanes {
		_ = release.Run(last, s.bus.client, []string{s.keys.owner(s.want.Group, p)}, s.me).Err() // else it ends by itself
	}
	_ = s.bus.client.ZRem(last, s.keys.members(s.want.Group), s.me).Err()
}

// share says that this member is there, and returns how many partitions are for it.
func (s *subscription) share(ctx context.Context) (int, error) {
	now, err := s.bus.client.Time(ctx).Result()
	if err != nil {
		return 0, err
	}
	key := s.keys.members(s.want.Group)
	var count *redis.IntCmd
	_, err = s.bus.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, key, redis.Z{Score: float64(now.UnixMilli()), Member: s.me})
		p.ZRemRangeByScore(ctx, key, "-inf", strconv.FormatInt(now.Add(-s.want.AckWait).UnixMilli(), 10))
		count = p.ZCard(ctx, key)
		p.PExpire(ctx, key, 2*s.want.AckWait) // where all members die
		if s.want.Keep > 0 {
			p.PExpire(ctx, s.keys.group(s.want.Group), s.want.Keep)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	members := max(int(count.Val()), 1)
	return (partitions + members - 1) / members, nil
}

// divide gives back what is more than the share, and takes what is nobody's. all says that
// what is held is to be renewed.
func (s *subscription) divide(ctx context.Context, share int, all bool) {
	held := 0
	for p := range partitions {
		l := s.lane(p)
		switch {
		case l == nil && held < share:
			if s.renew(ctx, p) == nil {
				if from, err := s.cursor(ctx, p); err == nil {
					s.add(p, from)
					held++
				}
			}
		case l == nil:
		case held == share, l.ended():
			s.drop(ctx, l)
		default:
			if !all || !errors.Is(s.renew(ctx, p), errOwned) {
				held++
			} else {
				s.drop(ctx, l)
			}
		}
	}
}

// cursor returns where the group is in a partition. A group that Redis has lost is made again.
func (s *subscription) cursor(ctx context.Context, p int) (uint64, error) {
	get := func() (uint64, error) {
		return s.bus.client.HGet(ctx, s.keys.group(s.want.Group), "c"+strconv.Itoa(p)).Uint64()
	}
	n, err := get()
	if !errors.Is(err, redis.Nil) {
		return n, err
	}
	if err := s.found(ctx); err != nil {
		return 0, err
	}
	return get()
}

func (s *subscription) lane(p int) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lanes[p]
}

func (l *lane) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// outlast keeps a partition until the handler that runs in it has ended.
func (s *subscription) outlast(ctx context.Context, p int, l *lane) {
	for {
		select {
		case <-l.done:
			return
		case <-time.After(s.want.AckWait / 3):
			_ = s.renew(ctx, p) // else it ends by itself
		}
	}
}

// drop ends a lane, without waiting for a handler that runs: the partition is given back
// when it has ended.
func (s *subscription) drop(ctx context.Context, l *lane) {
	l.stop()
	if !l.ended() {
		_ = s.renew(ctx, l.partition) // the event that is under way is nobody else's yet
		return                        // the next round sees to it
	}
	s.mu.Lock()
	delete(s.lanes, l.partition)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.reading), 2*time.Second)
	defer cancel()
	_ = release.Run(ctx, s.bus.client, []string{s.keys.owner(s.want.Group, l.partition)}, s.me).Err() // else it ends by itself
}

var errOwned = errors.New("another member has the partition")

func (s *subscription) renew(ctx context.Context, p int) error {
	n, err := renew.Run(ctx, s.bus.client, []string{s.keys.owner(s.want.Group, p)}, s.me, s.want.AckWait.Milliseconds()).Int()
	if err == nil && n == 0 {
		return errOwned
	}
	return err
}
