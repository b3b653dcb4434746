<?php

/*
 * This file is part of domoflux, a plugin of Jeedom. It is free software under the GPL, version 3 or later.
 */

require_once __DIR__ . '/../../../core/php/core.inc.php';
require_once __DIR__ . '/../core/class/autoload.php';

use Domoflux\Install;

/** The core calls it when the plugin is activated. */
function domoflux_install()
{
    Install::install();
}

/** The core calls it when the plugin was updated, or is activated again. */
function domoflux_update()
{
    Install::update();
}

/** The core calls it when the plugin is deactivated, and when it is removed; then after its equipment. */
function domoflux_remove()
{
    Install::remove();
}
