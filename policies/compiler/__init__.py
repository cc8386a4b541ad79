"""Plan files become plan versions, plan versions become Cedar: reading, checking, building, compiling."""
