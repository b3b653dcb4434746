<?php

/*
 * This file is part of domoflux, a plugin of Jeedom. It is free software under the GPL, version 3 or later.
 */

require_once __DIR__ . '/../../../core/php/core.inc.php';

/**
 * The core calls it before it writes the files of a new version over those of the old one. It cleans up what the new version
 * does not have any more, but not below resources/.
 */
function domoflux_pre_update()
{
    if (is_dir(__DIR__ . '/../resources/bin')) {
        rrmdir(__DIR__ . '/../resources/bin');
    }
}
