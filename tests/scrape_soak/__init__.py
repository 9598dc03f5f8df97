"""Systems that nobody instruments, scraped while their files, queues and tables have faults: judged by ``score``."""
