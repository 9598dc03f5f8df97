"""Rules, decisions and notifications: what on-call hears of the store."""
