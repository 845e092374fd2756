package eventbus

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// What a topic and a subscription have at most.
const (
	MaxTopicBytes = 255
	MaxTopicParts = 16
	maxPatterns   = 64
)

// The beginnings of topics that nobody else publishes on.
const (
	HostTopics = "hexdag." // what the host says of runs and entities
	DeadTopics = "dlq."    // dead letters, each under the topic that it was of
)

// reserved reports whether only the host, or the bus, may publish on a topic.
func reserved(topic string) bool {
	return strings.HasPrefix(topic, HostTopics) || strings.HasPrefix(topic, DeadTopics)
}

// Match reports whether a topic matches a pattern.
func Match(pattern, topic string) bool { return driver.Match(pattern, topic) }

// Part makes a part of a topic of any text: what a part cannot hold becomes "_".
func Part(text string) string {
	part := strings.Map(func(r rune) rune {
		if r < 0x80 && isPart(byte(r)) {
			return r
		}
		return '_'
	}, text)
	if part == "" {
		return "_"
	}
	return part[:min(len(part), 64)]
}

// GroupOf makes a group of any text, and another of any other: a text that is no name of a group gets
// the beginning of its digest, which only a name that was made for it has too.
func GroupOf(text string) string {
	part := Part(text)
	if part == text {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return part[:min(len(part), 64-17)] + "-" + hex.EncodeToString(sum[:8])
}

func isPart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// CheckTopic returns a CodeArguments error for what is no topic.
func CheckTopic(topic string) error {
	if why := badTopic(topic, false); why != "" {
		return &kernel.Error{Code: kernel.CodeArguments, What: "the topic " + kernel.Quote(topic) + " cannot be used", Why: why, Fix: "write parts of letters, digits, _ and - with dots between, as in orders.created"}
	}
	return nil
}

// CheckPattern returns a CodeArguments error for what is no pattern of topics.
func CheckPattern(pattern string) error {
	if why := badTopic(pattern, true); why != "" {
		return &kernel.Error{Code: kernel.CodeArguments, What: "the pattern " + kernel.Quote(pattern) + " cannot be used", Why: why, Fix: "write a topic, in which * stands for one part and > at the end for one or more, as in orders.*"}
	}
	return nil
}

func checkPatterns(patterns []string) error {
	if len(patterns) == 0 || len(patterns) > maxPatterns {
		return &kernel.Error{Code: kernel.CodeArguments, What: "a subscription has 1 to 64 patterns", Fix: "subscribe twice, or with > for all below a part"}
	}
	for _, p := range patterns {
		if err := CheckPattern(p); err != nil {
			return err
		}
	}
	return nil
}

// badTopic says what is wrong with a topic or a pattern, in one pass without
// allocation: every event goes through it.
func badTopic(text string, pattern bool) string {
	if text == "" {
		return "it is empty"
	}
	if len(text) > MaxTopicBytes {
		return "it has more than 255 bytes"
	}
	parts, length, wild := 1, 0, byte(0)
	for i := range len(text) {
		c := text[i]
		switch {
		case c == '.':
			if length == 0 {
				return "a part is empty"
			}
			if wild == '>' {
				return "> is not its last part"
			}
			parts, length, wild = parts+1, 0, 0
		case wild != 0 || (c == '*' || c == '>') && length > 0:
			return "* and > are parts of their own"
		case pattern && (c == '*' || c == '>'):
			length, wild = 1, c
		case isPart(c):
			length++
		default:
			return "a part has letters, digits, _ and - alone"
		}
	}
	switch {
	case length == 0:
		return "a part is empty"
	case parts > MaxTopicParts:
		return "it has more than 16 parts"
	}
	return ""
}
