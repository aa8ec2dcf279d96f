"""For all tests: a Ray that notices sooner."""

import os

os.environ |= {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # of 2: also how often Ray Train takes a report and looks for the end
    "RAY_USAGE_STATS_ENABLED": "0",
}
