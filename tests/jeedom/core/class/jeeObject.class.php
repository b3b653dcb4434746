<?php

/** Rooms; the tests have none. */
class jeeObject
{
    public static function byId($_id)
    {
    }
}
