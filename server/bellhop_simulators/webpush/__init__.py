"""Web Push services: RFC 8030, 8291 and 8292, in the manners of Mozilla, Google, Apple and Microsoft."""
